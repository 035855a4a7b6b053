/**
 * Events on a stream of bytes: length-prefixed frames, each with one envelope as JSON. The twin of
 * `wraith/protocol/envelope.py`; docs/reference/wire-formats.md is the whole of it, and `vectors/`
 * the examples that both must pass.
 *
 *     frame = length (4 bytes, unsigned, big-endian) || body (UTF-8 JSON)
 *     body  = {"type":"chat.msg","id":"room-1","payload":{"text":"hé"}}
 */

import { WraithError } from './errors.js';

export const DEFAULT_MAX_FRAME = 16 * 1024 * 1024;
const SMALLEST_MAX_FRAME = 1024;
const LARGEST_MAX_FRAME = 64 * 1024 * 1024;

const HEADER = 4;
const HALF_OF_A_PAIR = /\p{Surrogate}/u;
const MAY_HOLD_HALF_OF_A_PAIR = /\\u[dD][89a-fA-F]/;

/** One event. */
export interface EventEnvelope<Payload = unknown> {
  readonly type: string;
  readonly id: string;
  readonly payload: Payload;
}

/** A body that was skipped. */
export const MALFORMED = Symbol('malformed');

/** `type:id`, with its colon even where the id is empty. */
export function topicOf(event: EventEnvelope): string {
  return `${event.type}:${event.id}`;
}

/** Whether a type is one of the protocol's own. */
export function isReserved(type: string): boolean {
  return type.startsWith('__');
}

/** The limit of a frame in bytes, if it may be that; throws `WRAITH_USAGE`. */
export function checkedMaxFrame(size: number): number {
  if (Number.isInteger(size) && size >= SMALLEST_MAX_FRAME && size <= LARGEST_MAX_FRAME) {
    return size;
  }
  throw new WraithError('WRAITH_USAGE', 'the limit of a frame must be from 1 KiB to 64 MiB');
}

// Writing

/** The bytes of an event. Throws `WRAITH_EVENT` for what JSON or the limit does not allow. */
export function encodeFrame(event: EventEnvelope, maxFrame = DEFAULT_MAX_FRAME): Buffer {
  const { type, id, payload = null } = event;
  const text = stringify({ type, id, payload });
  const length = Buffer.byteLength(text);
  if (length > maxFrame) {
    throw eventError(`an event of ${length} bytes is larger than a frame may be`);
  }
  const frame = Buffer.allocUnsafe(HEADER + length);
  frame.writeUInt32BE(length);
  frame.write(text, HEADER, 'utf8');
  return frame;
}

function stringify(event: EventEnvelope): string {
  let text: string;
  try {
    text = JSON.stringify(event, checkedValue);
  } catch (error) {
    if (error instanceof WraithError) throw error;
    throw eventError('an event can only hold what JSON can say'); // a cycle, a BigInt
  }
  // JSON.stringify writes half of a pair as an escape; otherwise one is only in the text of a text.
  if (MAY_HOLD_HALF_OF_A_PAIR.test(text) && holdsHalfOfAPair(JSON.parse(text))) {
    throw eventError('half of a surrogate pair cannot be sent');
  }
  return text;
}

function checkedValue(this: unknown, name: string, value: unknown): unknown {
  if (typeof value === 'number' && !isSafe(value)) {
    throw eventError('numbers beyond 2^53 - 1 cannot be sent', 'send large numbers as text');
  }
  if (ArrayBuffer.isView((this as { [name: string]: unknown })[name])) {
    throw eventError('bytes cannot be sent', 'send them as base64 text');
  }
  return value;
}

function isSafe(value: number): boolean {
  return Math.abs(value) <= Number.MAX_SAFE_INTEGER; // false for NaN
}

function eventError(message: string, hint?: string): WraithError {
  return new WraithError('WRAITH_EVENT', message, hint === undefined ? {} : { hint });
}

/** Whether a value, as JSON gives it, has something in it. Not by recursion. */
function holds(whole: unknown, something: (value: unknown) => boolean): boolean {
  const waiting = [whole];
  while (waiting.length) {
    const value = waiting.pop();
    if (something(value)) return true;
    if (Array.isArray(value)) for (const item of value) waiting.push(item);
    else if (typeof value === 'object' && value !== null) {
      for (const [name, item] of Object.entries(value)) waiting.push(name, item);
    }
  }
  return false;
}

function holdsHalfOfAPair(whole: unknown): boolean {
  return holds(whole, (value) => typeof value === 'string' && HALF_OF_A_PAIR.test(value));
}

// Reading

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The event in a body, or that there is none. */
export function decodeBody(body: Uint8Array): EventEnvelope | typeof MALFORMED {
  let whole: unknown;
  try {
    const text = decoder.decode(body);
    whole = JSON.parse(text);
    if (MAY_HOLD_HALF_OF_A_PAIR.test(text) && holdsHalfOfAPair(whole)) return MALFORMED;
  } catch {
    return MALFORMED;
  }
  if (typeof whole !== 'object' || whole === null) return MALFORMED;
  const { type, id = '', payload = null } = whole as { [name: string]: unknown };
  if (typeof type !== 'string' || !type || typeof id !== 'string') return MALFORMED;
  if (holds(whole, (value) => typeof value === 'number' && !isSafe(value))) return MALFORMED;
  return { type, id, payload };
}

/** Bytes in, events out. */
export class EventReader {
  readonly #maxFrame: number;
  #pieces: Buffer[] = [];
  #held = 0;

  constructor(maxFrame = DEFAULT_MAX_FRAME) {
    this.#maxFrame = checkedMaxFrame(maxFrame);
  }

  /** Bytes that have come and are not yet part of an event. */
  get held(): number {
    return this.#held;
  }

  /**
   * The events that are complete now, and `MALFORMED` for each body to skip. Throws `WRAITH_FRAME`
   * for a length of 0 or beyond the limit, as soon as it is there; after that the stream makes no
   * sense any more.
   */
  *feed(data: Buffer): Generator<EventEnvelope | typeof MALFORMED> {
    this.#pieces.push(data);
    this.#held += data.length;
    while (this.#held >= HEADER) {
      const length = this.#first(HEADER).readUInt32BE(0);
      if (length === 0 || length > this.#maxFrame) {
        throw new WraithError(
          'WRAITH_FRAME',
          `the other side announced a frame of ${length} bytes`,
        );
      }
      const end = HEADER + length;
      if (this.#held < end) return;
      const whole = this.#first(end);
      const rest = whole.subarray(end);
      this.#pieces = rest.length ? [rest, ...this.#pieces.slice(1)] : this.#pieces.slice(1);
      this.#held -= end;
      yield decodeBody(whole.subarray(HEADER, end));
    }
  }

  /** The first piece, joined with as many others as it takes to have `size` bytes in it. */
  #first(size: number): Buffer {
    let first = this.#pieces[0] as Buffer;
    if (first.length >= size) return first;
    let count = 0;
    for (let length = 0; length < size; length += (this.#pieces[count++] as Buffer).length);
    first = Buffer.concat(this.#pieces.splice(0, count));
    this.#pieces.unshift(first);
    return first;
  }
}
