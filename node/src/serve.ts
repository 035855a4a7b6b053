/** `serve(options)`: an SSH server whose reserved names lead to this program. */

import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';

import type { Received } from './controlFrames.js';
import { type Engine, engineFor } from './engine.js';
import { serveSettings, type ServeOptions, type TransportName } from './options.js';
import { Verdict, WraithStream } from './stream.js';

/** Who is at the other end of a stream. */
export interface ConnectionInfo {
  /** The reserved name that was asked for. */
  readonly service: string;
  /** The name that the client chose. It proves nothing. */
  readonly user: string;
  /** Of the key that authenticated the client, `SHA256:…`. */
  readonly keyFingerprint: string;
  /** What the client's certificate proves; a plain key proves none. */
  readonly principals: readonly string[];
  readonly transport: TransportName;
  /** Where the client came from, without a port; '' where the transport has no addresses. */
  readonly remoteAddress: string;
}

export type ConnectionListener = (stream: Duplex, info: ConnectionInfo) => void;

interface Events {
  connection: [stream: Duplex, info: ConnectionInfo];
  error: [error: Error];
  close: [];
}

/**
 * A server that accepts. Emits `connection`, `close`, and `error` when the engine dies under it; as
 * with `net.Server`, an error that nobody listens for is thrown.
 */
export class WraithServer extends EventEmitter<Events> {
  /** The addresses really bound, in URL form. */
  readonly listenAddresses: readonly string[] = [];
  /** For `hostKey` on the other side, `SHA256:…`. */
  readonly hostKeyFingerprint: string = '';
  /** For `tlsPin` on the other side, where the server listens on TLS. */
  readonly tlsPin: string | null = null;
  #engine: Engine;
  #number = 0;
  #early: Received[] = [];
  #closing: Promise<void> | undefined;

  private constructor(engine: Engine) {
    super();
    this.#engine = engine;
    (this as EventEmitter).on('newListener', (event: string) => {
      if (event === 'connection') queueMicrotask(() => this.#acceptEarly());
    });
  }

  /** Not to be called: `serve` does. */
  static async open(options: ServeOptions): Promise<WraithServer> {
    const settings = serveSettings(options);
    const services = options.services ?? (options.bus === undefined ? ['wraith-control'] : []);
    const engine = await engineFor(options.python);
    const server = new WraithServer(engine);
    const { number, facts } = await engine.openServer(
      { options: settings, services },
      {
        connection: (message) => server.#arrived(message),
        closed: (error) => server.#lost(error),
      },
    );
    server.#number = number;
    Object.assign(server, facts);
    return server;
  }

  /** The id that iroh peers connect to, where the server listens on iroh. */
  get endpointId(): string | undefined {
    const url = this.listenAddresses.find((address) => address.startsWith('iroh://'));
    return url?.slice('iroh://'.length).split('@')[0];
  }

  /** Call `listener` for each stream that comes. Until there is one, streams wait for a moment. */
  onConnection(listener: ConnectionListener): this {
    return this.on('connection', listener);
  }

  #arrived(message: Received): void {
    if (this.listenerCount('connection') === 0) this.#early.push(message);
    else void this.#accept(message);
  }

  #acceptEarly(): void {
    for (const message of this.#early.splice(0)) void this.#accept(message);
  }

  async #accept(message: Received): Promise<void> {
    const { arrival, service, user, keyFingerprint, principals, transport, remoteAddress } =
      message as unknown as ConnectionInfo & { arrival: number };
    const info = { service, user, keyFingerprint, principals, transport, remoteAddress };
    const verdict = new Verdict();
    let opened;
    try {
      opened = await this.#engine.openStream('accept', { arrival }, verdict);
    } catch {
      return; // the peer went away before it was let in, or the engine did, which `error` tells
    }
    if (verdict.outcome) {
      this.#engine.forgetStream(opened.number);
      opened.socket.destroy();
      return;
    }
    const stream = new WraithStream(this.#engine, opened.number, opened.socket, verdict);
    this.emit('connection', stream, info);
  }

  #lost(error: Error): void {
    if (this.#closing !== undefined) return;
    this.#closing = Promise.resolve();
    this.emit('close');
    this.emit('error', error);
  }

  /**
   * Stop accepting, give open streams a moment to end (`drain`, in seconds), and say goodbye to
   * every client. Resolves when all of that is done; may be called more than once.
   */
  close({ drain = 2 }: { drain?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(drain);
    return this.#closing;
  }

  async #close(drain: number): Promise<void> {
    for (const { arrival } of this.#early.splice(0)) {
      this.#engine.tell('refuse', { arrival: arrival as number });
    }
    try {
      await this.#engine.call('close-server', { server: this.#number, drain });
    } catch {
      // the engine has ended, and the server with it
    }
    this.#engine.forgetServer(this.#number);
    this.emit('close');
  }

  /** Closes the server; for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Accept Wraith and OpenSSH clients that ask for one of the `services`. Unless `rules` say more,
 * they can reach nothing else.
 *
 * Rejects with a `WraithError`: `WRAITH_USAGE`, `WRAITH_IDENTITY`, `WRAITH_LISTEN_FAILED`, or what
 * is told of a missing engine.
 */
export function serve(options: ServeOptions): Promise<WraithServer> {
  return WraithServer.open(options);
}
