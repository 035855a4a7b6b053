/**
 * Where the engine connects back to: a Unix socket in a directory that only this user may enter.
 *
 * Each stream has a token of its own, which can be used once. What comes without one is cut off.
 */

import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmdirSync, unlinkSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SOCKET_NAME = 's';
const TOKEN_SIZE = 16;
const TOKEN_TIMEOUT = 5_000;

/** The longest path that fits a socket's address on every system (sun_path). */
const LONGEST_PATH = 103;

/** One stream that is expected to come. */
export interface Expected {
  readonly token: Buffer;
  readonly socket: Promise<Socket>;
  /** Nobody waits for it any more. */
  cancel(): void;
}

interface Taker {
  resolve(socket: Socket): void;
  reject(error: Error): void;
}

export class HostSocket {
  readonly directory: string;
  readonly #server: Server;
  readonly #waiting = new Map<string, Taker>();
  readonly #unnamed = new Set<Socket>();
  readonly #removeAtExit = () => this.#remove();

  private constructor(directory: string) {
    this.directory = directory;
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) =>
      this.#accept(socket),
    );
  }

  /** Make the directory and listen in it. */
  static async open(): Promise<HostSocket> {
    const host = new HostSocket(makeDirectory());
    process.on('exit', host.#removeAtExit);
    try {
      await new Promise<void>((resolve, reject) => {
        host.#server.once('error', reject);
        host.#server.listen(join(host.directory, SOCKET_NAME), resolve);
      });
    } catch (error) {
      host.close(error as Error);
      throw error;
    }
    host.#server.unref();
    return host;
  }

  /** Announce a stream: whoever connects with its token is it. */
  expect(): Expected {
    const token = randomBytes(TOKEN_SIZE);
    const name = token.toString('hex');
    const socket = new Promise<Socket>((resolve, reject) =>
      this.#waiting.set(name, { resolve, reject }),
    );
    socket.catch(() => {}); // nobody may be waiting for it yet
    return { token, socket, cancel: () => this.#waiting.delete(name) };
  }

  #accept(socket: Socket): void {
    this.#unnamed.add(socket);
    socket.unref();
    const timer = setTimeout(() => socket.destroy(), TOKEN_TIMEOUT).unref();
    const ignore = () => {}; // whoever has not said who it is may go as it likes
    socket.on('error', ignore);
    socket.once('close', () => this.#unnamed.delete(socket));
    const read = () => {
      const token = socket.read(TOKEN_SIZE) as Buffer | null;
      if (token === null && !socket.readableEnded) return;
      clearTimeout(timer);
      this.#unnamed.delete(socket);
      socket.off('readable', read);
      socket.off('error', ignore);
      this.#hand(socket, token);
    };
    socket.on('readable', read);
  }

  #hand(socket: Socket, token: Buffer | null): void {
    const name = token?.toString('hex') ?? '';
    const taker = this.#waiting.get(name);
    this.#waiting.delete(name);
    if (taker === undefined) {
      socket.on('error', () => {}).destroy();
      return;
    }
    socket.ref();
    taker.resolve(socket);
  }

  /** Stop listening and leave nothing behind; who waits for a stream is told why it fails. */
  close(error: Error): void {
    process.off('exit', this.#removeAtExit);
    for (const socket of this.#unnamed) socket.destroy();
    for (const taker of this.#waiting.values()) taker.reject(error);
    this.#waiting.clear();
    this.#server.close();
    this.#remove();
  }

  #remove(): void {
    // The engine does the same when it ends; whoever comes second finds nothing.
    for (const remove of [
      () => unlinkSync(join(this.directory, SOCKET_NAME)),
      () => rmdirSync(this.directory),
    ]) {
      try {
        remove();
      } catch {
        // gone already
      }
    }
  }
}

function makeDirectory(): string {
  const usual = join(tmpdir(), 'wraith-');
  const room = usual.length + 'XXXXXX/'.length + SOCKET_NAME.length <= LONGEST_PATH;
  const directory = mkdtempSync(room ? usual : '/tmp/wraith-');
  chmodSync(directory, 0o700); // as mkdtemp has made it, unless the umask took even that
  return directory;
}
