// The two kinds of sides that keep the promises: targets of this package, and of Python.

import { on, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { connect, createWraithEventTarget, serve } from 'wraith-tunnel';

import * as support from '../support.mjs';

const require = createRequire(import.meta.url);
const { encodeFrame, EventReader } = require('../../dist/envelope.js');

const SERVICE = 'wraith-events';
const script = fileURLToPath(new URL('events.py', import.meta.url));

export const frame = (type, id = '', payload = null) => encodeFrame({ type, id, payload });

/** What has come and what is waited for. */
class Inbox {
  #items = [];
  #waiting = [];

  put(item) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(item);
    else this.#items.push(item);
  }

  async next() {
    if (this.#items.length) return this.#items.shift();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('nothing came')), 10_000);
      this.#waiting.push((item) => resolve((clearTimeout(timer), item)));
    });
  }

  get isEmpty() {
    return this.#items.length === 0;
  }
}

/** The other end of a target's stream, which sees bytes. */
export class RawSide {
  #heard = new Inbox();
  #reader = new EventReader();

  constructor(stream) {
    this.stream = stream.on('error', () => {});
    this.read();
  }

  read() {
    this.stream.on('data', (data) => {
      for (const { type, id, payload } of this.#reader.feed(data))
        this.#heard.put([type, id, payload]);
    });
  }

  write(...pieces) {
    for (const piece of pieces) this.stream.write(piece);
  }

  next() {
    return this.#heard.next();
  }
}

/** A target of this package. */
class OurSide {
  #heard = new Inbox();
  #listeners = new Map();

  constructor(stream, maxFrame) {
    this.stream = stream;
    this.target = createWraithEventTarget({ stream, maxFrame, onError: () => {} });
    this.ended = this.target.closed.then(
      () => null,
      (error) => error.code,
    );
  }

  #listener(name) {
    if (!this.#listeners.has(name)) {
      this.#listeners.set(name, ({ type, detail }) => {
        this.#heard.put([name, type, detail.payload]);
        if (name === 'broken') throw new Error('broken');
      });
    }
    return this.#listeners.get(name);
  }

  async #try(act) {
    try {
      await act();
      return null;
    } catch (error) {
      return error.code;
    }
  }

  listen(topic, name = 'one', once = false) {
    return this.#try(() => this.target.addEventListener(topic, this.#listener(name), { once }));
  }
  unlisten(topic, name = 'one') {
    return this.#try(() => this.target.removeEventListener(topic, this.#listener(name)));
  }
  dispatch(type, id = '', payload = null) {
    const detail = { type, id, payload };
    return this.#try(() => this.target.dispatchEvent(new CustomEvent(`${type}:${id}`, { detail })));
  }
  close() {
    return this.#try(() => this.target.close());
  }
  leave() {
    this.target.close();
    return this.#try(() =>
      this.stream
        .on('error', () => {})
        .resume()
        .end(),
    );
  }
  next() {
    return this.#heard.next();
  }
  get hasHeardAll() {
    return this.#heard.isEmpty;
  }
}

/** A target in a Python process. */
class TheirSide {
  #heard = new Inbox();

  constructor(peer, number) {
    this.peer = peer;
    this.number = number;
    this.ended = new Promise((resolve) => (this.end = resolve));
  }

  heard(what) {
    this.#heard.put(what);
  }

  #do(what, ...args) {
    return this.peer.do(what, args, this.number);
  }

  listen = (topic, name = 'one', once = false) => this.#do('listen', topic, name, once);
  unlisten = (topic, name = 'one') => this.#do('unlisten', topic, name);
  dispatch = (type, id = '', payload = null) => this.#do('dispatch', type, id, payload);
  close = () => this.#do('close');
  leave = () => this.#do('leave');
  next = () => this.#heard.next();
  get hasHeardAll() {
    return this.#heard.isEmpty;
  }
}

class PythonPeer {
  #sides = new Map();
  #answers = new Map();
  #opened = new Inbox();
  #numbers = 0;

  async start(...args) {
    this.child = support.start(support.python, [script, ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: this.child.stdout });
    const ready = once(lines, 'line');
    lines.on('line', (line) => this.#heard(JSON.parse(line)));
    await ready;
  }

  #heard({ side, opened, heard, ended, done, code }) {
    if (opened) {
      this.#sides.set(side, new TheirSide(this, side));
      this.#opened.put(this.#sides.get(side));
    } else if (heard) this.#sides.get(side).heard(heard);
    else if (ended !== undefined) this.#sides.get(side).end(ended);
    else if (done !== undefined) this.#answers.get(done)(code);
  }

  do(what, args = [], side = 0) {
    const id = ++this.#numbers;
    this.child.stdin.write(JSON.stringify({ id, side, do: what, arguments: args }) + '\n');
    return new Promise((resolve) => this.#answers.set(id, resolve));
  }

  side() {
    return this.#opened.next();
  }

  async stop() {
    this.child.stdin.end();
    await once(this.child, 'close');
  }
}

async function* incoming(server) {
  for await (const [stream] of on(server, 'connection')) yield stream;
}

async function ourServer() {
  const server = await serve({
    listen: '127.0.0.1:0',
    hostKey: support.hostKey.bytes,
    authorizedKeys: support.userKey.publicBytes,
    services: [SERVICE],
  });
  return { server, streams: incoming(server), address: server.listenAddresses[0].slice(6) };
}

const options = (address) => ({
  server: address,
  hostKey: support.hostKey.fingerprint,
  identity: support.userKey.bytes,
  user: 'tester',
  destination: `${SERVICE}:0`,
});

/** Both sides are of this package. */
export async function oursAndOurs() {
  const { server, streams, address } = await ourServer();
  return {
    async pair(maxFrame) {
      const near = new OurSide(await connect(options(address)), maxFrame);
      return { near, far: (await streams.next()).value };
    },
    stop: () => server.close({ drain: 0 }),
  };
}

/** A Python program that connects to a server of this package. */
export async function pythonConnects() {
  const { server, streams, address } = await ourServer();
  const peer = new PythonPeer();
  await peer.start('connect', address, server.hostKeyFingerprint, support.userKey.path);
  return {
    async pair(maxFrame = 16 << 20) {
      await peer.do('limit', [maxFrame]);
      await peer.do('connect');
      return { near: await peer.side(), far: (await streams.next()).value };
    },
    async stop() {
      await peer.stop();
      await server.close({ drain: 0 });
    },
  };
}

/** A Python program that serves, and this package connects. */
export async function pythonServes() {
  const peer = new PythonPeer();
  const ready = join(support.folder, 'address');
  await peer.start('serve', ready, support.hostKey.path, support.userKey.publicPath);
  const address = readFileSync(ready, 'utf8');
  return {
    async pair(maxFrame = 16 << 20) {
      await peer.do('limit', [maxFrame]);
      const far = await connect(options(address));
      return { near: await peer.side(), far };
    },
    stop: () => peer.stop(),
  };
}

/** A target on the far end. */
export function target(stream, maxFrame) {
  return new OurSide(stream, maxFrame);
}
