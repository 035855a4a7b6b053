/**
 * The messages of the control channel, as bytes; the twin of `wraith/engine/frames.py`.
 *
 *     message = length (4 bytes, big-endian) || JSON object (UTF-8) || blobs
 *
 * Bytes in a message travel as blobs behind it, and `{"blob": 0}` stands in their place, so that no
 * copy of a key is made as text. Only the host sends blobs.
 */

/** The version of what is said on the control channel. */
export const PROTOCOL = 1;

const MAX_MESSAGE = 1024 * 1024;

/** What a message to the engine is made of. */
export type Sendable =
  | string
  | number
  | boolean
  | null
  | undefined
  | Uint8Array
  | Sendable[]
  | { [name: string]: Sendable };

/** A message from the engine. */
export interface Received {
  [name: string]: unknown;
}

/** The pieces of a message, to be written one after the other; blobs are not copied. */
export function encode(head: { [name: string]: Sendable }): Uint8Array[] {
  const blobs: Uint8Array[] = [];
  const plain = withoutBlobs(head, blobs) as object;
  const body = Buffer.from(JSON.stringify({ ...plain, blobs: blobs.map((blob) => blob.length) }));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return [length, body, ...blobs];
}

function withoutBlobs(value: Sendable, blobs: Uint8Array[]): unknown {
  if (value instanceof Uint8Array) return { blob: blobs.push(value) - 1 };
  if (Array.isArray(value)) return value.map((item) => withoutBlobs(item, blobs));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, withoutBlobs(item, blobs)]),
  );
}

/** Takes bytes as they come and gives whole messages. */
export class FrameReader {
  #received: Buffer = Buffer.alloc(0);

  /** The messages that are complete now. Throws on what no engine would send. */
  *feed(data: Buffer): Generator<Received> {
    this.#received = this.#received.length ? Buffer.concat([this.#received, data]) : data;
    while (this.#received.length >= 4) {
      const end = 4 + this.#received.readUInt32BE(0);
      if (end > MAX_MESSAGE) throw new Error(`a message of ${end} bytes`);
      if (this.#received.length < end) return;
      const body = this.#received.toString('utf8', 4, end);
      this.#received = this.#received.subarray(end);
      yield JSON.parse(body) as Received;
    }
  }
}
