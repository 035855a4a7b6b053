/** One channel of a tunnel, as an ordinary Duplex. */

import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

import type { Engine, StreamEvents } from './engine.js';
import { WraithError } from './errors.js';

/** How long, in milliseconds, the engine may take to say why a socket broke. */
const VERDICT_TIMEOUT = 5_000;

/**
 * What the engine has said of a stream, also before the stream exists.
 *
 * A Unix socket ends in the same way whether the far side has said all or the engine has died. So
 * the end of the socket means nothing: the engine tells how many bytes there are in all, and the
 * stream ends when they have come.
 */
export class Verdict implements StreamEvents {
  /** How many bytes the far side has sent, once it has said all. */
  total: number | undefined;
  /** The channel is gone: null if both sides had said all, undefined while it is there. */
  outcome: Error | null | undefined;
  onChange: () => void = () => {};

  ended(bytes: number): void {
    this.total = bytes;
    this.onChange();
  }

  closed(error: Error | null): void {
    if (this.outcome === undefined) this.outcome = error;
    this.onChange();
  }
}

type Callback = (error?: Error | null) => void;

export class WraithStream extends Duplex {
  readonly #engine: Engine;
  readonly #number: number;
  readonly #socket: Socket;
  readonly #verdict: Verdict;
  #received = 0;
  #sent = 0;
  #ended = false;
  #socketEnded = false;
  #waiting: NodeJS.Timeout | undefined;

  constructor(engine: Engine, number: number, socket: Socket, verdict: Verdict) {
    super({ allowHalfOpen: true });
    this.#engine = engine;
    this.#number = number;
    this.#socket = socket;
    this.#verdict = verdict;
    socket.on('data', (data: Buffer) => {
      this.#received += data.length;
      if (!this.push(data)) socket.pause();
      this.#consider();
    });
    const gone = () => {
      this.#socketEnded = true;
      this.#consider();
    };
    socket.on('end', gone).on('error', gone).on('close', gone);
    socket.pause();
    verdict.onChange = () => this.#consider();
    this.#consider();
  }

  /** What the engine's words, the bytes that came and the socket's end mean together. */
  #consider(): void {
    if (this.destroyed) return;
    if (this.#verdict.outcome) this.destroy(this.#verdict.outcome);
    else if (this.#ended) return;
    else if (this.#received === this.#verdict.total) {
      this.#ended = true;
      this.push(null);
    } else if (this.#socketEnded) {
      // Too early: the engine, or its death, will tell the reason.
      this.#waiting ??= setTimeout(() => {
        // On a busy machine the word may have come and not been read: let it be read first.
        setImmediate(() => this.#ended || this.destroyed || this.destroy(cutShort()));
      }, VERDICT_TIMEOUT);
    }
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: Callback): void {
    if (this.#verdict.outcome === null) callback(farSideClosed());
    else {
      this.#sent += chunk.length;
      this.#socket.write(chunk, (error) => callback(error ? this.#writeError(error) : null));
    }
  }

  override _writev(
    chunks: { chunk: Buffer; encoding: BufferEncoding }[],
    callback: Callback,
  ): void {
    this.#socket.cork();
    const last = chunks.pop();
    for (const { chunk } of chunks) {
      this.#sent += chunk.length;
      this.#socket.write(chunk);
    }
    this._write(last?.chunk ?? Buffer.alloc(0), 'utf8', callback);
    this.#socket.uncork();
  }

  #writeError(error: Error): Error {
    return this.#verdict.outcome ?? (this.#verdict.outcome === null ? farSideClosed() : error);
  }

  override _final(callback: Callback): void {
    // An end that is not announced counts as a crash of this process.
    this.#engine.tell('end', { stream: this.#number, bytes: this.#sent });
    if (this.#verdict.outcome === null || this.#socket.destroyed) callback();
    else this.#socket.end(() => callback());
  }

  override _destroy(error: Error | null, callback: Callback): void {
    clearTimeout(this.#waiting);
    const finished = this.writableFinished && this.#ended;
    if (!finished) this.#engine.tell('abort', { stream: this.#number });
    this.#engine.forgetStream(this.#number);
    this.#socket.destroy();
    callback(error);
  }
}

function cutShort(): WraithError {
  return new WraithError('WRAITH_CHANNEL_FAILED', 'the stream was cut short');
}

function farSideClosed(): WraithError {
  return new WraithError('WRAITH_CHANNEL_FAILED', 'the far side has closed the stream', {
    reason: 'EPIPE',
  });
}
