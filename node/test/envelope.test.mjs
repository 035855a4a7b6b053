// Events as bytes: the examples in vectors/, which Python's tests read as well.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';

const require = createRequire(import.meta.url);
const { decodeBody, encodeFrame, EventReader, MALFORMED, topicOf } = require('../dist/envelope.js');

const NUMBERS = { NaN, Infinity, '-Infinity': -Infinity };

const vectors = (name) =>
  JSON.parse(
    readFileSync(new URL(`../../vectors/${name}.json`, import.meta.url), 'utf8'),
    (_, value) => (value?.$number ? NUMBERS[value.$number] : value),
  );

/** What a reader makes of the pieces of a stream: its results, and how it ends. */
function read(pieces, maxFrame) {
  const reader = new EventReader(maxFrame);
  const results = [];
  try {
    for (const piece of pieces) {
      for (const event of reader.feed(piece)) {
        results.push(event === MALFORMED ? { malformed: true } : { event });
      }
    }
  } catch (error) {
    return { results, end: error.code };
  }
  return { results, end: reader.held ? 'WRAITH_TRUNCATED' : 'clean' };
}

for (const { name, event, topic, hex } of vectors('frames')) {
  test(`written and read: ${name}`, () => {
    assert.equal(encodeFrame(event).toString('hex'), hex);
    assert.equal(topicOf(event), topic);
    assert.deepEqual(decodeBody(Buffer.from(hex, 'hex').subarray(4)), event);
  });
}

for (const { name, hex, max_frame: maxFrame, results, end } of vectors('streams')) {
  test(`read, however it is cut: ${name}`, () => {
    const bytes = Buffer.from(hex, 'hex');
    const expected = { results, end };
    assert.deepEqual(read([bytes], maxFrame), expected);
    assert.deepEqual(
      read(
        Array.from(bytes, (byte) => Buffer.from([byte])),
        maxFrame,
      ),
      expected,
    );
    for (let cut = 0; cut <= bytes.length; cut++) {
      assert.deepEqual(read([bytes.subarray(0, cut), bytes.subarray(cut)], maxFrame), expected);
    }
  });
}

test('frames in three pieces, wherever they are cut', () => {
  const bytes = Buffer.concat(vectors('frames').map(({ hex }) => Buffer.from(hex, 'hex')));
  const whole = read([bytes]);
  for (let one = 0; one < bytes.length; one += 7) {
    for (let two = one; two < bytes.length; two += 5) {
      const pieces = [bytes.subarray(0, one), bytes.subarray(one, two), bytes.subarray(two)];
      assert.deepEqual(read(pieces), whole);
    }
  }
});

test('what only JavaScript has is refused as well, and what it leaves out is left out', () => {
  const cycle = {};
  cycle.self = cycle;
  for (const payload of [10n, cycle, Buffer.from('x'), { deep: new Uint8Array(1) }]) {
    assert.throws(() => encodeFrame({ type: 'a', id: '', payload }), { code: 'WRAITH_EVENT' });
  }
  const sent = encodeFrame({ type: 'a', id: '', payload: { a: undefined, b: [undefined] } });
  assert.equal(sent.toString('utf8', 4), '{"type":"a","id":"","payload":{"b":[null]}}');
  assert.equal(encodeFrame({ type: 'a', id: '' }).toString('utf8', 4).includes('null'), true);
  const tricky = { type: 'a', id: '', payload: ['\\ud800', '😀', '\\'] }; // text that looks like one
  assert.deepEqual(decodeBody(encodeFrame(tricky).subarray(4)), tricky);
});

test('a large frame in many pieces is read in time that grows with its size only', () => {
  const event = { type: 'a', id: '', payload: 'x'.repeat(12_000_000) };
  const bytes = encodeFrame(event);
  const reader = new EventReader();
  const found = [];
  for (let at = 0; at < bytes.length; at += 4096) {
    found.push(...reader.feed(bytes.subarray(at, at + 4096)));
  }
  assert.equal(found.length, 1);
  assert.equal(found[0].payload.length, 12_000_000);
});
