// Programs that know nothing of Wraith meet its events on Redis: here one with ioredis.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { Redis } from 'ioredis';
import { connect, createWraithEventTarget, serve } from 'wraith-tunnel';

import * as support from './support.mjs';

const installed = spawnSync('redis-server', ['--version']).status === 0;
const skip = installed || process.env.CI === 'true' ? false : 'redis-server is not installed';

let redis, url, subscriber, publisher;

before(async () => {
  if (skip) return;
  const folder = mkdtempSync(join(support.folder, 'redis-'));
  const port = await freePort();
  url = `redis://127.0.0.1:${port}/0?prefix=events.`;
  redis = support.start('redis-server', [
    ...['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
    ...['--dir', folder, '--daemonize', 'no'],
  ]);
  redis.stdout.resume();
  const answers = () => {
    const { stdout } = spawnSync('redis-cli', ['-p', port, 'ping']);
    return String(stdout).trim() === 'PONG';
  };
  await support.until(answers, 'redis answers');
  subscriber = new Redis({ host: '127.0.0.1', port: Number(port), lazyConnect: true });
  publisher = new Redis({ host: '127.0.0.1', port: Number(port), lazyConnect: true });
  await Promise.all([subscriber.connect(), publisher.connect()]);
});

after(async () => {
  subscriber?.disconnect();
  publisher?.disconnect();
});

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return String(port);
}

async function hub() {
  return serve({
    ...{ listen: '127.0.0.1:0', hostKey: support.hostKey.bytes, bus: url },
    authorizedKeys: support.userKey.publicBytes,
  });
}

async function clientOf(server) {
  const stream = await connect({
    server: server.listenAddresses[0].slice('tcp://'.length),
    ...{ hostKey: server.hostKeyFingerprint, identity: support.userKey.bytes, user: 'tester' },
  });
  return { stream: stream.on('error', () => {}), target: createWraithEventTarget({ stream }) };
}

test(
  'a subscriber with ioredis reads our events, and we read what it publishes',
  { skip },
  async () => {
    const server = await hub();
    const { stream, target } = await clientOf(server);
    await subscriber.subscribe('events.chat.msg:room-1');
    const came = once(subscriber, 'message');
    target.dispatch('chat.msg', 'room-1', { text: 'hé 😀' });
    const [channel, body] = await came;
    assert.equal(channel, 'events.chat.msg:room-1');
    const { type, id, payload, origin } = JSON.parse(body);
    assert.deepEqual(
      { type, id, payload },
      { type: 'chat.msg', id: 'room-1', payload: { text: 'hé 😀' } },
    );
    assert.equal(typeof origin, 'string');

    const heard = [];
    target.addEventListener('news:', ({ detail }) => heard.push(detail));
    const news = { type: 'news', id: '', payload: [1, 'zwei'] };
    await support.until(async () => {
      await publisher.publish('events.news:', JSON.stringify(news));
      return heard.length > 0;
    }, 'the event has come');
    assert.deepEqual(heard[0], news);
    stream.destroy();
    await server.close({ drain: 0 });
  },
);

test('two servers of this package share their events, once each', { skip }, async () => {
  const [one, two] = [await hub(), await hub()];
  const [here, there] = [await clientOf(one), await clientOf(two)];
  const heard = [];
  there.target.addEventListener('a:', ({ detail }) => heard.push(detail.payload));
  await support.until(async () => {
    here.target.dispatch('a', '', 'hello');
    await new Promise((resolve) => setTimeout(resolve, 20));
    return heard.length > 0;
  }, 'the two are joined');
  await new Promise((resolve) => setTimeout(resolve, 100));
  heard.length = 0;
  const numbers = Array.from({ length: 100 }, (_, number) => number);
  for (const number of numbers) here.target.dispatch('a', '', number);
  await support.until(() => heard.length >= numbers.length, 'all have come');
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.deepEqual(heard, numbers);
  for (const { stream } of [here, there]) stream.destroy();
  await Promise.all([one.close({ drain: 0 }), two.close({ drain: 0 })]);
});
