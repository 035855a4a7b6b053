// Many bytes: all of them arrive, in order, and a slow reader is waited for in bounded memory.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { connect } from 'wraith-tunnel';

import * as support from './support.mjs';

const MB = 1_000_000;
let server;

before(async () => {
  server = await support.startServer();
});

/** `size` bytes that differ from place to place, and their hash once they have all been taken. */
function source(size) {
  const hash = createHash('sha256');
  const block = Buffer.alloc(1 << 16, 'Wraith ');
  let left = size;
  let count = 0;
  const stream = new Readable({
    highWaterMark: 1 << 18,
    read() {
      const chunk = Buffer.from(block.subarray(0, Math.min(left, block.length)));
      if (chunk.length >= 4) chunk.writeUInt32BE(count++);
      left -= chunk.length;
      hash.update(chunk);
      this.push(chunk.length ? chunk : null);
    },
  });
  return { stream, hash };
}

test('500 MB up, hashed', { timeout: 60_000 }, async () => {
  const arrived = createHash('sha256');
  const address = await support.startOrigin(async (socket) => {
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) arrived.update(chunk);
    socket.end(arrived.digest('hex'));
  });
  const stream = await connect({ ...server.options, destination: address });
  const { stream: bytes, hash } = source(500 * MB);
  await pipeline(bytes, stream, async (answer) => {
    assert.equal(await support.text(answer), hash.digest('hex'));
  });
});

test('500 MB down, hashed', { timeout: 60_000 }, async () => {
  const { stream: bytes, hash } = source(500 * MB);
  const address = await support.startOrigin((socket) => pipeline(bytes, socket));
  const stream = await connect({ ...server.options, destination: address });
  const arrived = createHash('sha256');
  let size = 0;
  for await (const chunk of stream) {
    arrived.update(chunk);
    size += chunk.length;
  }
  assert.equal(size, 500 * MB);
  assert.equal(arrived.digest('hex'), hash.digest('hex'));
});

test(
  'a reader that pauses holds 300 MB up, and neither process keeps them',
  { timeout: 60_000 },
  async () => {
    let sent = 0;
    const address = await support.startOrigin((socket) => {
      const { stream } = source(300 * MB);
      stream.on('data', (chunk) => (sent += chunk.length));
      stream.pipe(socket);
    });
    const stream = await connect({ ...server.options, destination: address });
    const [engine] = support.enginesOf();
    const before = [support.memoryOf(process.pid), support.memoryOf(engine)];
    let last = -1;
    await support.until(async () => {
      const still = sent === last;
      last = sent;
      await sleep(300);
      return still && sent > 0;
    }, 'the source is held up');
    assert(sent < 60 * MB, `${sent} bytes were taken from the source though nobody read`);
    const grown = [support.memoryOf(process.pid), support.memoryOf(engine)].map(
      (now, index) => now - before[index],
    );
    assert(grown[0] < 64, `this process grew by ${grown[0]} MiB`);
    assert(grown[1] < 32, `the engine grew by ${grown[1]} MiB`);
    let size = 0;
    for await (const chunk of stream) size += chunk.length;
    assert.equal(size, 300 * MB);
  },
);

test('a far side that does not read holds our writing up', { timeout: 60_000 }, async () => {
  let far;
  const address = await support.startOrigin((socket) => {
    far = socket.pause();
  });
  const stream = await connect({ ...server.options, destination: address });
  const [engine] = support.enginesOf();
  const before = support.memoryOf(engine);
  const { stream: bytes } = source(300 * MB);
  let taken = 0;
  bytes.on('data', (chunk) => (taken += chunk.length));
  const done = pipeline(bytes, stream, async (answer) => support.text(answer));
  let last = -1;
  await support.until(async () => {
    const still = taken === last;
    last = taken;
    await sleep(300);
    return still && taken > 0;
  }, 'we are held up');
  assert(taken < 60 * MB, `${taken} bytes were taken though nobody reads`);
  assert(support.memoryOf(engine) - before < 32);
  let size = 0;
  for await (const chunk of far.iterator({ destroyOnReturn: false })) size += chunk.length;
  far.end();
  await done;
  assert.equal(size, 300 * MB);
});

test('a stream that nobody reads does not hold the others up', { timeout: 60_000 }, async () => {
  const flood = await support.startOrigin((socket) => source(50 * MB).stream.pipe(socket));
  const idle = await connect({ ...server.options, destination: flood });
  await sleep(300);
  const echo = await connect({ ...server.options, destination: 'wraith-echo:0' });
  assert.equal(await support.text(echo.end('through')), 'through');
  idle.destroy();
});
