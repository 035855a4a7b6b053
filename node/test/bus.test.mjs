// Clients of this package on Python's event bus: started by hand, and by serve({ bus }).

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { connect, createWraithEventTarget, serve } from 'wraith-tunnel';

import { frame, RawSide } from './peers/events.mjs';
import * as support from './support.mjs';

const other = support.makeKey();
const authorized = Buffer.concat([support.userKey.publicBytes, other.publicBytes]);
const topic = (type, id = '') => `${type}:${id}`;

/** A client of the bus that writes down what it hears. */
class Client {
  heard = [];

  constructor(stream) {
    this.stream = stream;
    this.target = createWraithEventTarget({ stream });
  }

  listen(...topics) {
    for (const name of topics) {
      this.target.addEventListener(name, ({ detail }) => this.heard.push(detail.payload));
    }
  }

  async hears(...payloads) {
    await support.until(() => this.heard.length >= payloads.length, `heard: ${this.heard}`);
    assert.deepEqual(this.heard.splice(0), payloads);
  }
}

/** Clients of one bus; a helper among them knows when the bus has seen what another has said. */
class World {
  #options;
  #streams = [];
  #count = 0;
  #stop;

  constructor(options, stop) {
    this.#options = options;
    this.#stop = stop;
  }

  async stream(identity = support.userKey.bytes) {
    const stream = await connect({ ...this.#options, identity });
    this.#streams.push(stream);
    return stream.on('error', () => {});
  }

  async client(identity) {
    return new Client(await this.stream(identity));
  }

  async raw() {
    return new RawSide(await this.stream());
  }

  /** The bus has seen all that this client has said so far: it hears what it has asked for last. */
  async settled(...clients) {
    this.helper ??= await this.client();
    for (const client of clients) {
      const type = `settled.${this.#count++}`;
      let heard = false;
      const listener = () => (heard = true);
      client.target.addEventListener(topic(type), listener);
      await support.until(() => {
        this.helper.target.dispatch(type);
        return heard;
      }, 'the bus has settled');
      client.target.removeEventListener(topic(type), listener);
    }
  }

  async clear() {
    for (const stream of this.#streams.splice(0)) stream.destroy();
    this.helper = undefined;
  }

  async stop() {
    await this.clear();
    await this.#stop();
  }
}

async function startedByHand(...args) {
  const server = await support.startServer(
    '--authorize',
    other.publicBytes.toString().trim(),
    ...args,
  );
  const options = { ...server.options, destination: 'wraith-control:0' };
  return new World(options, () => server.stop());
}

async function startedByServe(more = {}) {
  const server = await serve({
    ...{ listen: '127.0.0.1:0', hostKey: support.hostKey.bytes, authorizedKeys: authorized },
    ...{ bus: 'memory://', ...more },
  });
  const options = {
    server: server.listenAddresses[0].slice('tcp://'.length),
    ...{ hostKey: server.hostKeyFingerprint, user: 'tester' },
  };
  return new World(options, () => server.close({ drain: 0 }));
}

const PROMISES = {
  async 'an event reaches every other channel that listens, and not the one it came from'(world) {
    const [one, two, three, deaf] = await Promise.all([1, 2, 3, 4].map(() => world.client()));
    for (const client of [one, two, three]) client.listen('chat:room');
    deaf.listen('chat:other');
    await world.settled(one, two, three, deaf);
    one.target.dispatch('chat', 'room', { text: 'hé 😀' });
    one.target.dispatch('chat', 'other', 'last');
    await two.hears({ text: 'hé 😀' });
    await three.hears({ text: 'hé 😀' });
    await deaf.hears('last');
    two.target.dispatch('chat', 'room', 'from two');
    await one.hears('from two');
  },

  async 'the events of one publisher stay in order'(world) {
    const [one, two] = [await world.client(), await world.client()];
    two.listen('n:');
    await world.settled(two);
    const numbers = Array.from({ length: 500 }, (_, number) => number);
    for (const number of numbers) one.target.dispatch('n', '', number);
    await two.hears(...numbers);
  },

  async 'subscribing twice delivers once, and once less is enough'(world) {
    const [one, raw] = [await world.client(), await world.raw()];
    const ask = (type, name) => raw.write(frame(type, '', { topic: name }));
    const heard = [];
    const hear = async () => {
      for (;;) heard.push((await raw.next())[0]);
    };
    hear().catch(() => {});
    /** Everything that was asked for until now has been seen, and what was sent has come. */
    const settled = async (type) => {
      ask('__subscribe', topic(type));
      await support.until(() => {
        one.target.dispatch(type);
        return heard.includes(type);
      }, 'it is subscribed');
    };
    for (const name of ['a:', 'a:', 'b:']) ask('__subscribe', name);
    for (const name of ['b:', 'b:', 'c:']) ask('__unsubscribe', name);
    await settled('first');
    for (const type of ['a', 'b', 'c', 'a']) one.target.dispatch(type);
    await settled('second');
    ask('__unsubscribe', 'a:');
    await settled('third');
    one.target.dispatch('a');
    await settled('fourth');
    assert.deepEqual(
      heard.filter((type) => type.length === 1),
      ['a', 'a'],
    );
  },

  async 'what is malformed is skipped; a length of nothing, or too much, ends the channel'(world) {
    const [one, raw] = [await world.client(), await world.raw()];
    one.listen('a:');
    await world.settled(one);
    raw.write(Buffer.from([0, 0, 0, 5]), Buffer.from('hello'), frame('__hello'));
    raw.write(frame('a', '', 'still here'));
    await one.hears('still here');
    for (const bytes of [Buffer.alloc(4), Buffer.from([255, 255, 255, 255])]) {
      const doomed = await world.raw();
      doomed.write(bytes);
      await support.until(() => doomed.stream.destroyed, 'it is cut');
      assert.equal(doomed.stream.errored.code, 'WRAITH_CHANNEL_FAILED');
    }
  },

  async 'a slow consumer is cut, and the others hear everything'(world) {
    const slow = await world.stream(); // nobody reads it
    slow.write(frame('__subscribe', '', { topic: 'a:' }));
    const [one, two] = [await world.client(), await world.client(other.bytes)];
    two.listen('a:');
    await world.settled(two);
    const piece = 'x'.repeat(100_000);
    for (let count = 0; count < 200; count++) {
      one.target.dispatch('a', '', piece);
      await one.target.drain();
      await two.hears(piece);
    }
    let size = 0;
    slow.on('data', (data) => (size += data.length));
    await support.until(() => slow.destroyed, 'it is cut');
    assert.equal(slow.errored.code, 'WRAITH_CHANNEL_FAILED');
    assert(size < 100 * piece.length, `${size} bytes were kept for it`);
  },

  async 'a channel that goes leaves nothing behind, and the others go on'(world) {
    const [one, two, gone] = await Promise.all([1, 2, 3].map(() => world.client()));
    for (const client of [two, gone]) client.listen('a:');
    await world.settled(two, gone);
    gone.stream.destroy();
    for (let number = 0; number < 10; number++) one.target.dispatch('a', '', number);
    await two.hears(...Array.from({ length: 10 }, (_, number) => number));
  },

  async 'a direct event reaches that identity alone'(world) {
    const [one, two] = [await world.client(), await world.client(other.bytes)];
    const mine = topic('direct', support.userKey.fingerprint);
    one.listen(mine);
    two.listen(mine, 'b:');
    await world.settled(one, two);
    two.target.dispatch('direct', support.userKey.fingerprint, 'for you');
    await one.hears('for you');
    one.target.dispatch('direct', support.userKey.fingerprint, 'for me');
    one.target.dispatch('b', '', 'end');
    await two.hears('end');
  },

  async 'calls are for the server alone'(world) {
    const [one, two] = [await world.client(), await world.client()];
    two.listen('call.add:', 'b:');
    await world.settled(two);
    one.target.dispatch('call.add');
    one.target.dispatch('b', '', 'end');
    await two.hears('end');
  },
};

for (const [name, open] of Object.entries({
  'wraith serve': startedByHand,
  'serve({ bus })': startedByServe,
})) {
  describe(`the bus of ${name}`, () => {
    let world;
    before(async () => {
      world = await open();
    });
    after(() => world.stop());
    for (const [promise, keep] of Object.entries(PROMISES)) {
      test(promise, { timeout: 30_000 }, async () => {
        await keep(world);
        await world.clear();
      });
    }
  });
}

test('a server is the bus or gives the streams of wraith-control to the program, not both', async () => {
  const error = await support.rejection(startedByServe({ services: ['wraith-control'] }));
  assert.equal(error.code, 'WRAITH_USAGE');
});
