/** Events over one stream of bytes, in the shape of graphql-yoga's `TypedEventTarget`. */

import type { Duplex } from 'node:stream';

import {
  checkedMaxFrame,
  DEFAULT_MAX_FRAME,
  encodeFrame,
  type EventEnvelope,
  EventReader,
  isReserved,
  MALFORMED,
  topicOf,
} from './envelope.js';
import { WraithError } from './errors.js';

/** How much may wait to be sent, in bytes, beyond one frame of any size. */
const ALLOWANCE = 1024 * 1024;

/** A `CustomEvent`, which Node 20 has and its types do not. */
export interface TopicEvent<Detail extends EventEnvelope = EventEnvelope> extends Event {
  readonly detail: Detail;
}

export type TopicListener<E extends TopicEvent> =
  ((event: E) => void) | { handleEvent(event: E): void };

export interface ListenerOptions {
  once?: boolean;
  signal?: AbortSignal;
}

export interface EventTargetOptions {
  /** Where the events travel: a stream of `connect` or `serve`, or any other Duplex of bytes. */
  stream: Duplex;
  /** The limit of one event in bytes, from 1 KiB to 64 MiB; 16 MiB by default. */
  maxFrame?: number;
  /** Called with what a listener throws. By default it is a warning of the process. */
  onError?: (error: unknown) => void;
}

/**
 * Sends events to the other side of a stream, and listens to topics (`type:id`).
 *
 * It connects nothing and reconnects nothing: a new stream is a new target.
 */
export interface WraithEventTarget<E extends TopicEvent = TopicEvent> {
  /**
   * Call a listener with each event of a topic. The first listener of a topic asks the other side
   * for it. Throws `WRAITH_EVENT_STREAM` when the stream has ended.
   */
  addEventListener(
    topic: string,
    listener: TopicListener<E> | null,
    options?: ListenerOptions | boolean,
  ): void;
  /** Call it no more; the last listener of a topic gives the topic up. */
  removeEventListener(
    topic: string,
    listener: TopicListener<E> | null,
    options?: ListenerOptions | boolean,
  ): void;
  /**
   * Send an event: a `CustomEvent` whose `detail` is the envelope and whose type is its topic.
   * Listeners here do not hear it. Returns true. Throws `WRAITH_EVENT` for what cannot be sent,
   * `WRAITH_SLOW_CONSUMER` while more than 1 MiB beyond one event waits (`drain` waits for room),
   * and `WRAITH_EVENT_STREAM` when the stream has ended. Whatever it throws, nothing was sent.
   */
  dispatchEvent(event: E): boolean;
  /** The same without an event around it: type, id and payload. */
  dispatch(type: string, id?: string, payload?: unknown): void;
  /** Wait for room. Rejects with `WRAITH_EVENT_STREAM` when the stream has ended. */
  drain(): Promise<void>;
  /**
   * Resolves when the stream has ended or `close` was called; rejects with `WRAITH_FRAME`,
   * `WRAITH_TRUNCATED` or `WRAITH_EVENT_STREAM` when it was no clean end.
   */
  readonly closed: Promise<void>;
  /** Stop listening and sending; the stream stays open, and its owner's. May be called twice. */
  close(): void;
}

/** An event target over a stream. It begins to read at once. */
export function createWraithEventTarget<E extends TopicEvent = TopicEvent>(
  options: EventTargetOptions,
): WraithEventTarget<E> {
  return new StreamEventTarget<E>(options);
}

interface Entry<E extends TopicEvent> {
  once: boolean;
  /** Takes the listener off its signal. */
  forget(): void;
  tell(event: E): void;
}

class StreamEventTarget<E extends TopicEvent> implements WraithEventTarget<E> {
  readonly closed: Promise<void>;
  readonly #stream: Duplex;
  readonly #maxFrame: number;
  readonly #reader: EventReader;
  readonly #onError: (error: unknown) => void;
  readonly #topics = new Map<string, Map<TopicListener<E>, Entry<E>>>();
  readonly #events: [name: string, handler: (value: any) => void][];
  #resolve!: () => void;
  #reject!: (error: Error) => void;
  #waiting: (() => void)[] = [];
  #isOpen = true;
  #error: Error | undefined;
  #largest = 0;

  constructor({ stream, maxFrame = DEFAULT_MAX_FRAME, onError = warn }: EventTargetOptions) {
    this.#stream = stream;
    this.#maxFrame = checkedMaxFrame(maxFrame);
    this.#reader = new EventReader(maxFrame);
    this.#onError = onError;
    this.closed = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.closed.catch(() => {}); // whoever wants to know asks for it
    this.#events = [
      ['data', (data: Buffer) => this.#received(data)],
      ['drain', () => this.#tellRoom()],
      ['end', () => this.#ended()],
      ['error', (error: Error) => this.#cutShort(error)],
      ['close', () => this.#cutShort(undefined)],
    ];
    for (const [name, handler] of this.#events) stream.on(name, handler);
    if (stream.destroyed) this.#cutShort(stream.errored ?? undefined);
  }

  // Sending

  dispatchEvent(event: E): boolean {
    const { type, id = '', payload } = event.detail ?? {};
    if (event.type !== `${type}:${id}`) {
      throw new WraithError('WRAITH_EVENT', "an event's type must be the topic of its envelope", {
        hint: 'dispatch new CustomEvent(`${type}:${id}`, { detail: { type, id, payload } })',
      });
    }
    this.dispatch(type, id, payload);
    return true;
  }

  dispatch(type: string, id = '', payload: unknown = null): void {
    if (typeof type !== 'string' || typeof id !== 'string') {
      throw new WraithError('WRAITH_EVENT', 'the type and the id of an event must be text');
    }
    if (!type) throw new WraithError('WRAITH_EVENT', 'an event must have a type');
    if (isReserved(type)) {
      throw new WraithError('WRAITH_EVENT', "event types that begin with '__' are reserved", {
        hint: 'give the event another type',
      });
    }
    this.#send({ type, id, payload });
  }

  #send(event: EventEnvelope): void {
    this.#checkOpen();
    const frame = encodeFrame(event, this.#maxFrame);
    const waiting = this.#stream.writableLength;
    if (waiting === 0) this.#largest = 0;
    const largest = Math.max(this.#largest, frame.length);
    if (waiting + frame.length - largest > ALLOWANCE) {
      throw new WraithError(
        'WRAITH_SLOW_CONSUMER',
        'the other side takes events more slowly than they are sent',
        { hint: 'wait for drain() between events' },
      );
    }
    this.#largest = largest;
    this.#stream.write(frame);
  }

  #checkOpen(): void {
    if (this.#error !== undefined) throw this.#error;
    if (!this.#isOpen || this.#stream.writableEnded || this.#stream.destroyed) {
      throw new WraithError('WRAITH_EVENT_STREAM', 'the stream of events has ended');
    }
  }

  async drain(): Promise<void> {
    this.#checkOpen();
    if (this.#stream.writableNeedDrain) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
      this.#checkOpen();
    }
  }

  #tellRoom(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  // Listening

  addEventListener(
    topic: string,
    listener: TopicListener<E> | null,
    options?: ListenerOptions | boolean,
  ): void {
    this.#checkOpen();
    const { once = false, signal } = typeof options === 'object' ? options : {};
    if (listener === null || signal?.aborted) return;
    let listeners = this.#topics.get(topic);
    if (listeners?.has(listener)) return;
    if (listeners === undefined) {
      this.#send({ type: '__subscribe', id: '', payload: { topic } });
      this.#topics.set(topic, (listeners = new Map()));
    }
    const remove = () => this.removeEventListener(topic, listener);
    signal?.addEventListener('abort', remove, { once: true });
    listeners.set(listener, {
      once,
      forget: () => signal?.removeEventListener('abort', remove),
      tell: (event) =>
        typeof listener === 'function' ? listener(event) : listener.handleEvent(event),
    });
  }

  removeEventListener(topic: string, listener: TopicListener<E> | null): void {
    const listeners = this.#topics.get(topic);
    const entry = listener === null ? undefined : listeners?.get(listener);
    if (listeners === undefined || entry === undefined) return;
    entry.forget();
    listeners.delete(listener as TopicListener<E>);
    if (listeners.size) return;
    this.#topics.delete(topic);
    try {
      this.#send({ type: '__unsubscribe', id: '', payload: { topic } });
    } catch {
      // ended, or full: then more comes than is wanted, and no worse
    }
  }

  #deliver(envelope: EventEnvelope): void {
    const topic = topicOf(envelope);
    const listeners = this.#topics.get(topic);
    if (listeners === undefined) return;
    const event = new Custom(topic, { detail: envelope }) as E;
    for (const [listener, entry] of [...listeners]) {
      if (listeners.get(listener) !== entry) continue; // removed by one before it
      if (entry.once) this.removeEventListener(topic, listener);
      try {
        entry.tell(event);
      } catch (error) {
        this.#onError(error);
      }
    }
  }

  // Receiving

  #received(data: Buffer): void {
    const events = this.#reader.feed(data);
    while (this.#isOpen) {
      let next;
      try {
        next = events.next();
      } catch (error) {
        return this.#fail(error as WraithError);
      }
      if (next.done) return;
      if (next.value !== MALFORMED && !isReserved(next.value.type)) this.#deliver(next.value);
    }
  }

  #ended(): void {
    if (this.#reader.held === 0) this.#end(undefined);
    else this.#fail(truncated('the stream ended in the middle of a frame'));
  }

  #cutShort(cause: Error | undefined): void {
    const message = 'the stream of events was cut short';
    const error = this.#reader.held
      ? truncated(message)
      : new WraithError('WRAITH_EVENT_STREAM', message);
    if (cause !== undefined) error.cause = cause;
    this.#end(error);
  }

  /** What comes makes no sense, so neither does the stream. `closed` tells of it. */
  #fail(error: WraithError): void {
    this.#end(error);
    this.#stream.on('error', () => {}).destroy(error);
  }

  // Ending

  #end(error: WraithError | undefined): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#error = error;
    for (const [name, handler] of this.#events) this.#stream.off(name, handler);
    for (const listeners of this.#topics.values()) {
      for (const entry of listeners.values()) entry.forget();
    }
    this.#topics.clear();
    this.#tellRoom();
    if (error === undefined) this.#resolve();
    else this.#reject(error);
  }

  close(): void {
    if (this.#isOpen) this.#stream.pause();
    this.#end(undefined);
  }
}

/** Node's own, which is global from version 19 on. */
const Custom = (
  globalThis as unknown as {
    CustomEvent: new (topic: string, init: { detail: EventEnvelope }) => TopicEvent;
  }
).CustomEvent;

function truncated(message: string): WraithError {
  return new WraithError('WRAITH_TRUNCATED', message);
}

function warn(error: unknown): void {
  process.emitWarning(error instanceof Error ? error : String(error));
}
