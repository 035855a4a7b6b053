// An event target, and what it says to the other side of its stream; any Duplex will do.

import assert from 'node:assert/strict';
import { on } from 'node:events';
import { createRequire } from 'node:module';
import { Duplex, PassThrough } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'node:test';

import { createWraithEventTarget } from 'wraith-tunnel';

const require = createRequire(import.meta.url);
const { encodeFrame, EventReader } = require('../dist/envelope.js');

/** A stream for a target, and the other side of it, which sees bytes. */
function pair(options = {}) {
  const [into, out] = [new PassThrough(), new PassThrough({ highWaterMark: 1 << 30 })];
  const stream = Duplex.from({ readable: into, writable: out });
  const target = createWraithEventTarget({ stream, ...options });
  const reader = new EventReader();
  const heard = [];
  out.on('data', (data) => heard.push(...reader.feed(data)));
  const far = {
    says: (type, id = '', payload = null) => into.write(encodeFrame({ type, id, payload })),
    raw: (bytes) => into.write(bytes),
    ends: () => into.end(),
    async hears() {
      for (let turns = 0; turns < 20; turns++) await turn();
      return heard.splice(0).map(({ type, payload }) => [type, payload]);
    },
  };
  return { stream, target, far };
}

const event = (type, id = '', payload = null) =>
  new CustomEvent(`${type}:${id}`, { detail: { type, id, payload } });
const subscribe = (topic) => ['__subscribe', { topic }];
const unsubscribe = (topic) => ['__unsubscribe', { topic }];

test('a topic is asked for once and given up once', async () => {
  const { target, far } = pair();
  const [one, two] = [() => {}, { handleEvent() {} }];
  target.addEventListener('a:', one);
  target.addEventListener('a:', one);
  target.addEventListener('a:', two);
  assert.deepEqual(await far.hears(), [subscribe('a:')]);
  target.removeEventListener('a:', one);
  target.removeEventListener('a:', one);
  target.removeEventListener('b:', one);
  assert.deepEqual(await far.hears(), []);
  target.removeEventListener('a:', two);
  assert.deepEqual(await far.hears(), [unsubscribe('a:')]);
  target.addEventListener('a:', one);
  assert.deepEqual(await far.hears(), [subscribe('a:')]);
});

test('an event comes as a CustomEvent, to functions and to objects', async () => {
  const { target, far } = pair();
  const heard = [];
  target.addEventListener('chat:room', (it) =>
    heard.push([it instanceof CustomEvent, it.type, it.detail]),
  );
  target.addEventListener('chat:room', { handleEvent: (it) => heard.push(it.detail.payload) });
  far.says('chat', 'room', { text: 'hé 😀' });
  far.says('chat', 'other', 'not for us');
  await far.hears();
  const detail = { type: 'chat', id: 'room', payload: { text: 'hé 😀' } };
  assert.deepEqual(heard, [[true, 'chat:room', detail], { text: 'hé 😀' }]);
});

test('dispatching sends the envelope, and no listener here hears it', async () => {
  const { target, far } = pair();
  const heard = [];
  target.addEventListener('a:1', (it) => heard.push(it));
  await far.hears();
  assert.equal(target.dispatchEvent(event('a', '1', { n: 1 })), true);
  target.dispatch('b');
  assert.deepEqual(await far.hears(), [
    ['a', { n: 1 }],
    ['b', null],
  ]);
  assert.deepEqual(heard, []);
});

test('what cannot be sent is refused, and nothing is sent', async () => {
  const { target, far } = pair();
  const refused = [
    () => target.dispatchEvent(event('__subscribe', '', { topic: 'a:' })),
    () => target.dispatchEvent(event('__hello')),
    () => target.dispatchEvent(event('')),
    () => target.dispatchEvent(event('a', '', NaN)),
    () => target.dispatchEvent(new CustomEvent('a', { detail: { type: 'a', id: '' } })),
    () => target.dispatchEvent(new CustomEvent('a:', { detail: null })),
    () => target.dispatch('a', 5),
    () => target.dispatch('a', '', 2 ** 53),
    () => target.dispatch('a', '', 'x'.repeat(17 << 20)),
  ];
  for (const act of refused) assert.throws(act, { code: 'WRAITH_EVENT' });
  assert.deepEqual(await far.hears(), []);
});

test('once is once, and a signal takes a listener away', async () => {
  const { target, far } = pair();
  const heard = [];
  const controller = new AbortController();
  target.addEventListener('a:', () => heard.push('once'), { once: true });
  target.addEventListener('b:', () => heard.push('signal'), { signal: controller.signal });
  target.addEventListener('c:', () => heard.push('never'), { signal: AbortSignal.abort() });
  for (const type of ['a', 'a', 'b']) far.says(type);
  assert.deepEqual(await far.hears(), [subscribe('a:'), subscribe('b:'), unsubscribe('a:')]);
  controller.abort();
  far.says('b');
  assert.deepEqual(await far.hears(), [unsubscribe('b:')]);
  assert.deepEqual(heard, ['once', 'signal']);
});

test('a listener that throws does not keep the others from hearing', async () => {
  const errors = [];
  const { target, far } = pair({ onError: (error) => errors.push(error.message) });
  const heard = [];
  target.addEventListener('a:', () => {
    throw new Error('broken');
  });
  target.addEventListener('a:', (it) => heard.push(it.detail.payload));
  far.says('a', '', 1);
  far.says('a', '', 2);
  await far.hears();
  assert.deepEqual(heard, [1, 2]);
  assert.deepEqual(errors, ['broken', 'broken']);
});

test('listeners may come and go while an event is told', async () => {
  const { target, far } = pair();
  const heard = [];
  const second = () => heard.push('second');
  target.addEventListener('a:', () => {
    heard.push('first');
    target.removeEventListener('a:', second);
    target.addEventListener('a:', () => heard.push('late'), { once: true });
  });
  target.addEventListener('a:', second);
  far.says('a');
  await far.hears();
  assert.deepEqual(heard, ['first']);
});

test('what is malformed or reserved is skipped', async () => {
  const { target, far } = pair();
  const heard = [];
  target.addEventListener('a:', (it) => heard.push(it.detail.payload));
  for (const body of ['hello', '{"type":1}', '[]', '{"type":"a","payload":NaN}']) {
    far.raw(Buffer.concat([Buffer.from([0, 0, 0, body.length]), Buffer.from(body)]));
  }
  far.says('__hello');
  far.says('a', '', 'still here');
  await far.hears();
  assert.deepEqual(heard, ['still here']);
});

test('events.on() reads a topic as an async iterator', async () => {
  const { target, far } = pair();
  const controller = new AbortController();
  const iterator = on(target, 'a:', { signal: controller.signal });
  for (let number = 0; number < 3; number++) far.says('a', '', number);
  const heard = [];
  for await (const [it] of iterator) {
    heard.push(it.detail.payload);
    if (heard.length === 3) break;
  }
  assert.deepEqual(heard, [0, 1, 2]);
  assert.deepEqual(await far.hears(), [subscribe('a:'), unsubscribe('a:')]);
});

for (const [name, bytes] of [
  ['nothing', Buffer.alloc(4)],
  ['more than the limit', Buffer.from([0, 0, 4, 1])],
]) {
  test(`a length of ${name} ends target and stream`, async () => {
    const { stream, target, far } = pair({ maxFrame: 1024 });
    far.raw(bytes);
    await assert.rejects(target.closed, { code: 'WRAITH_FRAME' });
    assert(stream.destroyed);
    assert.throws(() => target.dispatch('a'), { code: 'WRAITH_FRAME' });
    assert.throws(() => target.addEventListener('a:', () => {}), { code: 'WRAITH_FRAME' });
    await assert.rejects(target.drain(), { code: 'WRAITH_FRAME' });
  });
}

test('an end inside a frame is told as such, one between frames is clean', async () => {
  const [cut, clean] = [pair(), pair()];
  cut.far.raw(encodeFrame({ type: 'a', id: '', payload: 1 }).subarray(0, 9));
  cut.far.ends();
  await assert.rejects(cut.target.closed, { code: 'WRAITH_TRUNCATED' });
  clean.far.ends();
  await clean.target.closed;
  assert.throws(() => clean.target.dispatch('a'), { code: 'WRAITH_EVENT_STREAM' });
});

test('a stream that is cut short is told with its cause', async () => {
  const { stream, target } = pair();
  const cause = new Error('cut');
  stream.destroy(cause);
  await assert.rejects(target.closed, { code: 'WRAITH_EVENT_STREAM', cause });
  const late = createWraithEventTarget({ stream });
  await assert.rejects(late.closed, { code: 'WRAITH_EVENT_STREAM' });
});

test('who takes nothing is told to the one who sends, and nothing piles up', async () => {
  let release;
  const written = [];
  const stream = new Duplex({
    read() {},
    write(chunk, _encoding, callback) {
      written.push(chunk);
      release = callback;
    },
  });
  const target = createWraithEventTarget({ stream });
  const piece = 'x'.repeat(100_000);
  let sent = 0;
  assert.throws(
    () => {
      for (; sent < 100; sent++) target.dispatch('a', '', piece);
    },
    { code: 'WRAITH_SLOW_CONSUMER' },
  );
  assert(stream.writableLength <= (1 << 20) + 100_100, `${stream.writableLength} bytes wait`);
  assert(stream.writableLength > 1 << 20);
  let drained = false;
  const draining = target.drain().then(() => (drained = true));
  await turn();
  assert(!drained);
  while (stream.writableLength) {
    release();
    await turn();
  }
  await draining;
  target.dispatch('a', '', 'x'.repeat(5_000_000)); // one event of any size always goes
  assert.throws(
    () => {
      for (let more = 0; more < 20; more++) target.dispatch('a', '', piece);
    },
    { code: 'WRAITH_SLOW_CONSUMER' },
  );
});

test('close() may be called twice, ends what listens, and leaves the stream to its owner', async () => {
  const { stream, target, far } = pair();
  const heard = [];
  const { signal } = new AbortController();
  target.addEventListener('a:', () => heard.push('told'), { signal });
  target.dispatch('a', '', 'before');
  target.close();
  target.close();
  await target.closed;
  assert.throws(() => target.dispatch('a'), { code: 'WRAITH_EVENT_STREAM' });
  far.says('a');
  assert.deepEqual(await far.hears(), [subscribe('a:'), ['a', 'before']]);
  assert.deepEqual(heard, []);
  assert(!stream.destroyed);
  const next = createWraithEventTarget({ stream }); // and here is what came since
  next.addEventListener('a:', () => heard.push('told'));
  stream.resume();
  await far.hears();
  assert.deepEqual(heard, ['told']);
  for (const name of ['data', 'error', 'drain']) assert(stream.listenerCount(name) < 4, name);
});

test('a listener may close the target it listens to', async () => {
  const { target, far } = pair();
  const heard = [];
  target.addEventListener('a:', () => {
    heard.push('told');
    target.close();
  });
  far.raw(Buffer.concat([1, 2].map((payload) => encodeFrame({ type: 'a', id: '', payload }))));
  await far.hears();
  assert.deepEqual(heard, ['told']);
});
