/** The Python child: the only file that starts a process, and the control channel to it. */

import { spawn, type ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';
import { debuglog } from 'node:util';

import { encode, FrameReader, PROTOCOL, type Received, type Sendable } from './controlFrames.js';
import { abortError, type Failure, fromFailure, WraithError } from './errors.js';
import { HostSocket } from './hostSocket.js';
import { candidates, type Command, notFound } from './interpreter.js';

/** How long, in milliseconds, an interpreter may take until it says hello. */
const HELLO_TIMEOUT = 30_000;

/** How much of what the engine says on stderr is kept, for the message when it ends. */
const TAIL = 2048;

/** `NODE_DEBUG=wraith` shows what the engine says on stderr. */
const debug = debuglog('wraith');

type Fields = { [name: string]: Sendable };

/** What a stream hears of its other half from the engine. */
export interface StreamEvents {
  /** The far side has said all: so many bytes, which are on the socket or have come. */
  ended(bytes: number): void;
  /** The channel is gone; with an error if it was cut short. */
  closed(error: Error | null): void;
}

/** What a server hears from the engine. */
export interface ServerEvents {
  connection(message: Received): void;
  closed(error: Error): void;
}

interface Call {
  resolve(result: Received): void;
  reject(error: Error): void;
}

const engines = new Map<string, Promise<Engine>>();

/**
 * The engine of this process (of this worker, in a worker thread), started if it is not there.
 * Throws `WRAITH_PYTHON_NOT_FOUND`, `WRAITH_ENGINE_VERSION` or `WRAITH_ENGINE_EXITED`.
 */
export function engineFor(python: string | undefined): Promise<Engine> {
  const key = python ?? '';
  let engine = engines.get(key);
  if (engine === undefined) {
    const forget = () => {
      if (engines.get(key) === engine) engines.delete(key);
    };
    engine = start(candidates(python, process.env), forget);
    engines.set(key, engine);
    engine.catch(forget);
  }
  return engine;
}

async function start(commands: Command[], onDown: () => void): Promise<Engine> {
  if (process.platform === 'win32') {
    throw new WraithError('WRAITH_USAGE', 'this package does not work on Windows');
  }
  const tried: string[] = [];
  for (const command of commands) {
    const host = await HostSocket.open();
    try {
      return await Engine.start(command, host, onDown);
    } catch (error) {
      host.close(error as Error);
      if (!(error instanceof NoEngine)) throw error;
      tried.push(`${command.described}: ${error.message}`);
    }
  }
  throw notFound(tried);
}

/** A command that turned out not to be an engine. */
class NoEngine extends Error {}

export class Engine {
  readonly #child: ChildProcess;
  readonly #control: Socket;
  readonly #host: HostSocket;
  readonly #reader = new FrameReader();
  readonly #calls = new Map<number, Call>();
  readonly #streams = new Map<number, StreamEvents>();
  readonly #servers = new Map<number, ServerEvents>();
  readonly #onDown: () => void;
  #numbers = 0;
  #holders = 0;
  #tail = '';
  #down: Error | undefined;
  #hello: ((message: Received) => void) | undefined;
  #isEngine = false;

  private constructor(child: ChildProcess, host: HostSocket, onDown: () => void) {
    this.#child = child;
    this.#host = host;
    this.#onDown = onDown;
    this.#control = child.stdio[3] as Socket;
    this.#control.on('data', (data) => this.#received(data));
    this.#control.on('close', () => this.#ended());
    this.#control.on('error', (error) => debug('control channel: %s', error.message));
    child.stderr?.on('data', (data: Buffer) => this.#said(data.toString()));
  }

  /** Start a command and wait until it says hello. Throws `NoEngine` if it is something else. */
  static async start(command: Command, host: HostSocket, onDown: () => void): Promise<Engine> {
    const child = spawn(
      command.program,
      [...command.args, 'engine', '--fd', '3', '--directory', host.directory],
      { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] },
    );
    const failed = new Promise<never>((_resolve, reject) =>
      child.once('error', (error: NodeJS.ErrnoException) =>
        reject(new NoEngine(error.code === 'ENOENT' ? 'not found' : error.message)),
      ),
    );
    failed.catch(() => {});
    if (child.pid === undefined) return await failed;
    const engine = new Engine(child, host, onDown);
    try {
      await Promise.race([engine.#greeted(), failed]);
    } catch (error) {
      child.kill('SIGKILL');
      for (const pipe of [engine.#control, child.stderr]) pipe?.destroy(); // its children may live on
      throw error;
    }
    engine.#letGo();
    return engine;
  }

  #greeted(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new NoEngine(`no answer within ${HELLO_TIMEOUT / 1000} s`)),
        HELLO_TIMEOUT,
      );
      this.#child.once('close', (code, signal) => {
        clearTimeout(timer);
        const how = signal === null ? `exit code ${code}` : `killed by ${signal}`;
        const last = this.#tail.trim().split('\n').at(-1);
        reject(new NoEngine(last ? `${how}, ${last.trim()}` : how));
      });
      this.#hello = (message) => {
        clearTimeout(timer);
        this.#hello = undefined;
        this.#isEngine = message['protocol'] === PROTOCOL;
        if (this.#isEngine) resolve();
        else reject(wrongVersion(message));
      };
    });
  }

  // An idle engine keeps nobody awake; a call, a stream or a server does.

  #letGo(): void {
    this.#child.unref();
    this.#control.unref();
    (this.#child.stderr as Socket | null)?.unref();
  }

  #hold(): void {
    if (this.#holders++ === 0) this.#control.ref();
  }

  #release(): void {
    if (--this.#holders === 0) this.#control.unref();
  }

  /** The process id of the child. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  // What is asked

  /** Ask for something and wait for the answer; a `signal` takes it back. */
  call(op: string, fields: Fields, signal?: AbortSignal): Promise<Received> {
    if (this.#down !== undefined) return Promise.reject(this.#down);
    const id = ++this.#numbers;
    const cancel = () => this.tell('cancel', { id });
    return new Promise<Received>((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      this.#hold();
      signal?.addEventListener('abort', cancel, { once: true });
      this.tell(op, { id, ...fields });
    }).finally(() => {
      signal?.removeEventListener('abort', cancel);
      this.#release();
    });
  }

  /** Say something that needs no answer. */
  tell(op: string, fields: Fields): void {
    if (this.#down !== undefined) return;
    this.#control.cork();
    for (const piece of encode({ op, ...fields })) this.#control.write(piece);
    this.#control.uncork();
  }

  /**
   * Ask for a stream: `events` hears of it from the moment of asking. Resolves to its number and
   * its socket once both the engine's answer and the socket are there.
   */
  async openStream(
    op: string,
    fields: Fields,
    events: StreamEvents,
    signal?: AbortSignal,
  ): Promise<{ number: number; socket: Socket }> {
    const number = ++this.#numbers;
    const expected = this.#host.expect();
    this.#streams.set(number, events);
    this.#hold(); // also between the answer and the socket: nothing else may keep the process awake
    let opened = false;
    try {
      await this.call(op, { ...fields, stream: number, token: expected.token }, signal);
      const socket = await expected.socket;
      opened = true;
      if (signal?.aborted) {
        this.tell('abort', { stream: number });
        socket.destroy();
        opened = false;
        throw abortError();
      }
      return { number, socket };
    } finally {
      if (!opened) this.#streams.delete(number);
      expected.cancel();
      this.#release();
    }
  }

  /** Nobody wants to hear of this stream any more. */
  forgetStream(number: number): void {
    this.#streams.delete(number);
  }

  /** Ask for a server; its number and what the engine says of it. */
  async openServer(
    fields: Fields,
    events: ServerEvents,
  ): Promise<{ number: number; facts: Received }> {
    const number = ++this.#numbers;
    this.#servers.set(number, events);
    this.#hold();
    try {
      return { number, facts: await this.call('serve', { ...fields, server: number }) };
    } catch (error) {
      this.forgetServer(number);
      throw error;
    }
  }

  /** The server has closed. */
  forgetServer(number: number): void {
    if (this.#servers.delete(number)) this.#release();
  }

  // What is heard

  #said(text: string): void {
    debug('%s', text.trimEnd());
    this.#tail = (this.#tail + text).slice(-TAIL);
  }

  #received(data: Buffer): void {
    try {
      for (const message of this.#reader.feed(data)) this.#heard(message);
    } catch (error) {
      debug('control channel unusable: %s', error);
      this.#control.destroy();
      this.#child.kill('SIGKILL');
    }
  }

  #heard(message: Received): void {
    if ('id' in message) this.#answered(message);
    else if (message['event'] === 'hello') this.#hello?.(message);
    else if (message['event'] === 'ended') {
      this.#streams.get(message['stream'] as number)?.ended(message['bytes'] as number);
    } else if (message['event'] === 'closed') {
      const failure = message['error'] as Failure | null;
      const events = this.#streams.get(message['stream'] as number);
      events?.closed(failure === null ? null : fromFailure(failure));
    } else if (message['event'] === 'connection') {
      this.#servers.get(message['server'] as number)?.connection(message);
    }
  }

  #answered(message: Received): void {
    const call = this.#calls.get(message['id'] as number);
    this.#calls.delete(message['id'] as number);
    if ('error' in message) call?.reject(fromFailure(message['error'] as Failure));
    else call?.resolve(message['result'] as Received);
  }

  #ended(): void {
    if (this.#down !== undefined) return;
    const last = this.#tail.trim().split('\n').at(-1);
    this.#down = new WraithError(
      'WRAITH_ENGINE_EXITED',
      `the Wraith engine, a Python process, has ended${last ? `: ${last}` : ''}`,
      { hint: 'the next connect() or serve() starts another one' },
    );
    if (this.#isEngine) this.#onDown();
    this.#host.close(this.#down);
    for (const call of this.#calls.values()) call.reject(this.#down);
    this.#calls.clear();
    for (const stream of [...this.#streams.values()]) stream.closed(this.#down);
    for (const [number, server] of [...this.#servers]) {
      this.forgetServer(number);
      server.closed(this.#down);
    }
  }
}

function wrongVersion(hello: Received): WraithError {
  return new WraithError(
    'WRAITH_ENGINE_VERSION',
    `Wraith ${String(hello['version'])} for Python speaks version ${String(hello['protocol'])} ` +
      `with this package, which needs version ${PROTOCOL}`,
    { hint: 'install the same version of wraith-tunnel from npm and from PyPI' },
  );
}
