// The promises of an event target, kept by both languages against each other, over real SSH.
//
// `near` is the target that promises; `far` is the other end of its stream, in this process. The
// list is the one in docs/architecture/napi-and-pubsub.md.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, test } from 'node:test';

import {
  frame,
  oursAndOurs,
  pythonConnects,
  pythonServes,
  RawSide,
  target,
} from './peers/events.mjs';

const subscribe = (topic) => ['__subscribe', '', { topic }];
const unsubscribe = (topic) => ['__unsubscribe', '', { topic }];
const SMALLEST = 1024;

/** A target and raw bytes on its far end. */
async function raw(world, maxFrame) {
  const { near, far } = await world.pair(maxFrame);
  return [near, new RawSide(far)];
}

/** A target that listens to `a:`, and raw bytes on its far end. */
async function listening(world, maxFrame) {
  const [near, far] = await raw(world, maxFrame);
  await near.listen('a:');
  assert.deepEqual(await far.next(), subscribe('a:'));
  return [near, far];
}

/** A target on either end. */
async function both(world) {
  const { near, far } = await world.pair();
  return [near, target(far)];
}

const PROMISES = {
  async 'a frame may be cut anywhere'(world) {
    const [near, far] = await listening(world);
    const whole = frame('a', '', 'é😀');
    for (let cut = 1; cut < whole.length; cut++) {
      far.write(whole.subarray(0, cut));
      await sleep(1);
      far.write(whole.subarray(cut));
    }
    for (const byte of whole) far.write(Buffer.from([byte]));
    for (let count = 0; count < whole.length; count++) {
      assert.deepEqual(await near.next(), ['one', 'a:', 'é😀']);
    }
  },

  async 'several frames in one write are several events'(world) {
    const [near, far] = await listening(world);
    far.write(Buffer.concat([frame('a', '', 1), frame('b', '', 2), frame('a', '', 3)]));
    assert.deepEqual(await near.next(), ['one', 'a:', 1]);
    assert.deepEqual(await near.next(), ['one', 'a:', 3]);
  },

  async 'events stay in order, both ways at once'(world) {
    const [near, far] = await both(world);
    await Promise.all([near.listen('a:'), far.listen('b:')]);
    for (let number = 0; number < 200; number++) {
      far.dispatch('a', '', number);
      near.dispatch('b', '', number);
    }
    for (let number = 0; number < 200; number++) {
      assert.deepEqual(await near.next(), ['one', 'a:', number]);
      assert.deepEqual(await far.next(), ['one', 'b:', number]);
    }
  },

  async 'subscriptions are counted'(world) {
    const [near, far] = await raw(world);
    await near.listen('a:', 'one');
    await near.listen('a:', 'one');
    await near.listen('a:', 'two');
    await near.unlisten('a:', 'one');
    await near.unlisten('a:', 'one');
    await near.unlisten('b:', 'two');
    far.write(frame('a', '', 1));
    assert.deepEqual(await near.next(), ['two', 'a:', 1]);
    await near.unlisten('a:', 'two');
    await near.dispatch('end');
    assert.deepEqual(await far.next(), subscribe('a:'));
    assert.deepEqual(await far.next(), unsubscribe('a:'));
    assert.deepEqual(await far.next(), ['end', '', null]);
  },

  async 'once is once'(world) {
    const [near, far] = await raw(world);
    await near.listen('a:', 'one', true);
    await near.listen('b:', 'two');
    far.write(frame('a', '', 1), frame('a', '', 2), frame('b', '', 3));
    assert.deepEqual(await near.next(), ['one', 'a:', 1]);
    assert.deepEqual(await near.next(), ['two', 'b:', 3]);
    assert.deepEqual(await far.next(), subscribe('a:'));
    assert.deepEqual(await far.next(), subscribe('b:'));
    assert.deepEqual(await far.next(), unsubscribe('a:'));
  },

  async 'nothing is echoed'(world) {
    const [near, far] = await both(world);
    await Promise.all([near.listen('a:'), far.listen('a:')]);
    await near.dispatch('a', '', 'from near');
    assert.deepEqual(await far.next(), ['one', 'a:', 'from near']);
    await far.dispatch('a', '', 'from far');
    assert.deepEqual(await near.next(), ['one', 'a:', 'from far']);
    assert(near.hasHeardAll && far.hasHeardAll);
  },

  async 'the id is part of the topic, and the colon is always there'(world) {
    const [near, far] = await raw(world);
    await near.listen('a:x:y', 'one');
    await near.listen('a:', 'two');
    far.write(frame('a', 'x', 1), frame('a', 'x:y', 2), frame('a:x', 'y', 3), frame('a', '', 4));
    assert.deepEqual(await near.next(), ['one', 'a:x:y', 2]);
    assert.deepEqual(await near.next(), ['one', 'a:x:y', 3]);
    assert.deepEqual(await near.next(), ['two', 'a:', 4]);
  },

  async 'a malformed body is skipped'(world) {
    const [near, far] = await listening(world);
    for (const body of ['hello', '{"type":1}', '{"type":"a","payload":NaN}', '[]', '\xff']) {
      const bytes = Buffer.from(body, 'latin1');
      far.write(Buffer.from([0, 0, 0, bytes.length]), bytes);
    }
    far.write(frame('a', '', 'still here'));
    assert.deepEqual(await near.next(), ['one', 'a:', 'still here']);
  },

  async 'a length of nothing ends the stream'(world) {
    const [near, far] = await listening(world);
    far.write(Buffer.alloc(4), frame('a'));
    assert.equal(await near.ended, 'WRAITH_FRAME');
    assert.equal(await near.dispatch('a'), 'WRAITH_FRAME');
    assert(near.hasHeardAll);
  },

  async 'a length beyond the limit ends the stream, before its body'(world) {
    const [near, far] = await listening(world, SMALLEST);
    const room = SMALLEST - frame('a', '', '').length + 4;
    far.write(frame('a', '', 'x'.repeat(room)));
    assert.deepEqual(await near.next(), ['one', 'a:', 'x'.repeat(room)]);
    assert.equal(await near.dispatch('a', '', 'x'.repeat(room + 1)), 'WRAITH_EVENT');
    far.write(Buffer.from([0, 0, 4, 1]));
    assert.equal(await near.ended, 'WRAITH_FRAME');
  },

  async 'an end inside a frame is told, one between frames is clean'(world) {
    const [cut, farOfCut] = await listening(world);
    farOfCut.stream.end(frame('a').subarray(0, -1));
    assert.equal(await cut.ended, 'WRAITH_TRUNCATED');
    const [clean, farOfClean] = await listening(world);
    farOfClean.stream.end(frame('a', '', 'last'));
    assert.deepEqual(await clean.next(), ['one', 'a:', 'last']);
    assert.equal(await clean.ended, null);
    assert.equal(await clean.listen('b:'), 'WRAITH_EVENT_STREAM');
  },

  async 'a stream that is cut short is told'(world) {
    const [near, far] = await listening(world);
    far.stream.destroy();
    assert.equal(await near.ended, 'WRAITH_EVENT_STREAM');
    assert.equal(await near.dispatch('a'), 'WRAITH_EVENT_STREAM');
  },

  async 'one who takes nothing is told to the sender, and is sent no more'(world) {
    const { near, far } = await world.pair(); // nobody reads `far`
    far.on('error', () => {});
    const piece = 'x'.repeat(100_000);
    let code = null;
    let sent = 0;
    for (; code === null && sent < 1000; sent++) {
      code = await near.dispatch('a', '', piece);
      await sleep(1);
    }
    assert.equal(code, 'WRAITH_SLOW_CONSUMER');
    const reader = new RawSide(far);
    for (let count = 1; count < sent; count++) assert.equal((await reader.next())[2], piece);
  },

  async 'reserved types are refused when sent, and ignored when they come'(world) {
    const [near, far] = await listening(world);
    for (const type of ['__subscribe', '__hello', '__']) {
      assert.equal(await near.dispatch(type), 'WRAITH_EVENT');
    }
    await near.listen('__hello:', 'two');
    assert.deepEqual(await far.next(), subscribe('__hello:'));
    far.write(frame('__hello'), frame('__subscribe', '', 7), frame('a', '', 1));
    assert.deepEqual(await near.next(), ['one', 'a:', 1]);
    await near.dispatch('end');
    assert.deepEqual(await far.next(), ['end', '', null]); // and the others were not sent
  },

  async 'numbers beyond 2^53 - 1 and halves of surrogate pairs are refused'(world) {
    const [near, far] = await raw(world);
    assert.equal(await near.dispatch('a', '', 2 ** 53), 'WRAITH_EVENT');
    assert.equal(await near.dispatch('a', '', ['x\ud83d']), 'WRAITH_EVENT');
    assert.equal(await near.dispatch('a', '', 2 ** 53 - 1), null);
    assert.deepEqual(await far.next(), ['a', '', 2 ** 53 - 1]);
  },

  async 'a listener that throws keeps nobody from hearing'(world) {
    const [near, far] = await raw(world);
    await near.listen('a:', 'broken');
    await near.listen('a:', 'two');
    far.write(frame('a', '', 1), frame('a', '', 2));
    for (const payload of [1, 2]) {
      assert.deepEqual(await near.next(), ['broken', 'a:', payload]);
      assert.deepEqual(await near.next(), ['two', 'a:', payload]);
    }
  },

  async 'characters of four bytes survive, in every place'(world) {
    const [near, far] = await both(world);
    const text = '😀é€a';
    await Promise.all([near.listen(`${text}:${text}`), far.listen(`${text}:${text}`)]);
    await near.dispatch(text, text, { [text]: text });
    assert.deepEqual(await far.next(), ['one', `${text}:${text}`, { [text]: text }]);
    await far.dispatch(text, text, { [text]: text });
    assert.deepEqual(await near.next(), ['one', `${text}:${text}`, { [text]: text }]);
  },

  async 'a large event passes whole, both ways'(world) {
    const [near, far] = await both(world);
    const payload = '0123456789'.repeat(500_000);
    await Promise.all([near.listen('a:'), far.listen('a:')]);
    await far.dispatch('a', '', payload);
    assert.equal((await near.next())[2], payload);
    await near.dispatch('a', '', payload);
    assert.equal((await far.next())[2], payload);
  },

  async 'close() may be called twice, and leaves the stream to its owner'(world) {
    const [near, far] = await listening(world);
    await near.dispatch('a', '', 'before');
    assert.equal(await near.close(), null);
    assert.equal(await near.close(), null);
    assert.equal(await near.ended, null);
    assert.equal(await near.dispatch('a'), 'WRAITH_EVENT_STREAM');
    assert.equal(await near.listen('a:'), 'WRAITH_EVENT_STREAM');
    assert.deepEqual(await far.next(), ['a', '', 'before']);
    assert(!far.stream.destroyed && !far.stream.readableEnded);
    await near.leave();
    far.stream.end();
  },
};

for (const [name, open] of Object.entries({
  'TypeScript, over SSH to TypeScript': oursAndOurs,
  'Python, connected to a server of this package': pythonConnects,
  'Python, serving a client of this package': pythonServes,
})) {
  describe(`a target in ${name}`, () => {
    let world;
    before(async () => {
      world = await open();
    });
    after(() => world.stop());
    for (const [promise, keep] of Object.entries(PROMISES)) {
      test(promise, { timeout: 30_000 }, () => keep(world));
    }
  });
}
