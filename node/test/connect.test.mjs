// connect(): a real Duplex, over real SSH.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { Duplex, PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { before, test } from 'node:test';
import { Worker } from 'node:worker_threads';

import { connect, WraithError } from 'wraith-tunnel';

import * as support from './support.mjs';
import { text } from './support.mjs';

let server, echo;

before(async () => {
  server = await support.startServer();
  echo = { ...server.options, destination: 'wraith-echo:0' };
});

test('what is written comes back, and both sides end', async () => {
  const stream = await connect(echo);
  assert(stream instanceof Duplex);
  stream.end('hello');
  assert.equal(await text(stream), 'hello');
});

test('pipeline carries a source through and into a sink', async () => {
  const sink = new PassThrough();
  const said = text(sink);
  await pipeline(Readable.from(['one ', 'two ', 'three']), await connect(echo), sink);
  assert.equal(await said, 'one two three');
});

test('each direction ends in its own time', async () => {
  const address = await support.startOrigin(async (socket) => {
    socket.write('first');
    socket.write(await text(socket));
    setTimeout(() => socket.end(' last'), 50);
  });
  const stream = await connect({ ...server.options, destination: address });
  assert.equal((await once(stream, 'data')).toString(), 'first');
  stream.end(' middle');
  await once(stream, 'finish');
  assert(!stream.readableEnded);
  assert.equal(await text(stream), ' middle last');
});

test('an end of the far side leaves our own direction open', async () => {
  let got;
  const address = await support.startOrigin((socket) => {
    socket.end('bye');
    got = text(socket);
  });
  const stream = await connect({ ...server.options, destination: address });
  assert.equal(await text(stream), 'bye');
  stream.end('and good luck');
  await once(stream, 'finish');
  assert.equal(await got, 'and good luck');
});

test('destroy() reaches the far side as a reset, never as an end', async () => {
  let ended;
  const address = await support.startOrigin((socket) => {
    ended = new Promise((resolve) => {
      socket.once('end', () => resolve('end')).once('error', (error) => resolve(error.code));
    });
    socket.resume();
  });
  const stream = await connect({ ...server.options, destination: address });
  stream.write('half of a ');
  await new Promise((resolve) => setTimeout(resolve, 50));
  stream.destroy();
  await once(stream, 'close');
  assert.equal(await ended, 'ECONNRESET');
});

test('destroy(error) is told to whoever reads, and ends nothing else', async () => {
  const [one, other] = await Promise.all([connect(echo), connect(echo)]);
  const reason = new Error('enough');
  one.destroy(reason);
  assert.equal(await support.rejection(text(one)), reason);
  other.end('still here');
  assert.equal(await text(other), 'still here');
});

test('a far side that resets is an error, not an end', async () => {
  const address = await support.startOrigin((socket) => {
    socket.write('half of a ');
    setTimeout(() => socket.resetAndDestroy(), 50);
  });
  const stream = await connect({ ...server.options, destination: address });
  const error = await support.rejection(text(stream));
  assert(error instanceof WraithError);
  assert.equal(error.code, 'WRAITH_CHANNEL_FAILED');
});

test('a server that dies is an error of its own', async () => {
  const doomed = await support.startServer();
  const stream = await connect({ ...doomed.options, destination: 'wraith-echo:0' });
  stream.write('x');
  await once(stream, 'data');
  const ended = support.rejection(text(stream));
  await doomed.stop();
  assert.equal((await ended).code, 'WRAITH_SESSION_LOST');
});

test('a far side that closes leaves what it said, and takes no more', async () => {
  const stream = await connect({
    ...server.options,
    destination: await support.startOrigin((socket) => {
      socket.end('no more');
      socket.once('finish', () => setTimeout(() => socket.destroy(), 20));
    }),
  });
  stream.on('error', () => {});
  const failed = new Promise((resolve) => {
    const write = (error) =>
      error ? resolve(error) : setTimeout(() => stream.write('x', write), 5);
    stream.write('x', write);
  });
  assert.equal((await once(stream, 'data')).toString(), 'no more');
  assert.equal((await failed).code, 'WRAITH_CHANNEL_FAILED');
});

test('a hundred streams at once', async () => {
  const streams = await Promise.all(Array.from({ length: 100 }, () => connect(echo)));
  const said = await Promise.all(
    streams.map((stream, number) => {
      stream.end(`stream ${number}`);
      return text(stream);
    }),
  );
  assert.deepEqual(
    said,
    said.map((_, number) => `stream ${number}`),
  );
  assert.equal(support.enginesOf().length, 1);
});

test('streams that have ended leave no socket in either process', async () => {
  const [engine] = support.enginesOf();
  const count = () => [support.socketsOf(process.pid).length, support.socketsOf(engine).length];
  // Its own: the control channel, stderr, and the pair with which its loop wakes itself.
  await support.until(() => count()[1] <= 4, 'the engine has only its own sockets');
  const before = count();
  for (let round = 0; round < 5; round++) {
    const stream = await connect(echo);
    if (round % 2) stream.destroy();
    else await text(stream.end('x'));
  }
  await support.until(() => String(count()) === String(before), 'the sockets are closed');
});

test('errors carry the codes of the tree', async (t) => {
  const cases = {
    WRAITH_AUTH_FAILED: { ...echo, identity: support.makeKey().bytes },
    WRAITH_HOST_KEY_MISMATCH: { ...echo, hostKey: `SHA256:${'A'.repeat(43)}` },
    WRAITH_TRANSPORT_FAILED: { ...echo, server: '127.0.0.1:1' },
    WRAITH_CHANNEL_REFUSED: { ...echo, destination: '127.0.0.1:1' },
    WRAITH_IDENTITY: { ...echo, identity: Buffer.from('no key') },
    WRAITH_USAGE: { ...echo, keepalive: -1 },
  };
  for (const [code, options] of Object.entries(cases)) {
    await t.test(code, async () => {
      const error = await support.rejection(connect(options));
      assert(error instanceof WraithError);
      assert.equal(error.code, code);
    });
  }
  assert.equal(
    (await support.rejection(connect(cases.WRAITH_TRANSPORT_FAILED))).reason,
    'ECONNREFUSED',
  );
  assert.equal(
    (await support.rejection(connect(cases.WRAITH_CHANNEL_REFUSED))).reason,
    'ECONNREFUSED',
  );
});

test('options that cannot be used are refused in a sentence that names them', async () => {
  const told = async (options) => (await support.rejection(connect(options))).message;
  assert.equal(await told({ ...echo, sever: 'x' }), 'there is no option sever');
  assert.equal(await told({ ...echo, user: 5 }), 'the option user must be text');
  assert.equal(await told({ ...echo, socks5: ':1080' }), 'there is no option socks5');
  const error = await support.rejection(
    connect({ ...echo, identity: '-----BEGIN OPENSSH PRIVATE KEY-----\nsecret' }),
  );
  assert.equal(error.code, 'WRAITH_USAGE');
  assert(!`${error.message} ${error.hint}`.includes('secret'));
});

test('an attempt can be taken back, before and while it is made', async () => {
  const early = AbortSignal.abort();
  assert.equal((await support.rejection(connect({ ...echo, signal: early }))).name, 'AbortError');
  const silent = await support.startOrigin(() => {}); // takes the connection and says nothing
  const controller = new AbortController();
  const attempt = connect({ ...echo, server: silent, signal: controller.signal });
  setTimeout(() => controller.abort(new Error('changed my mind')), 100);
  assert.equal((await support.rejection(attempt)).message, 'changed my mind');
});

test('a key given as bytes is seen in no argument, no environment and no file', async () => {
  const stream = await connect(echo);
  const secret = support.userKey.bytes.toString().split('\n')[2]; // a line of the key's own text
  const [engine] = support.enginesOf();
  for (const what of ['cmdline', 'environ']) {
    assert(!readFileSync(`/proc/${engine}/${what}`, 'latin1').includes(secret), what);
  }
  const holds = (path) => readFileSync(path, 'latin1').includes(secret);
  const files = readdirSync(support.folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath ?? entry.path}/${entry.name}`);
  assert.deepEqual(files.filter(holds), [support.userKey.path]); // where ssh-keygen had put it
  stream.destroy();
});

test('a process that has nothing to do ends by itself, with an idle engine and with streams ended', async () => {
  const { code, stdout, stderr } = await support.runNode(
    `import { connect } from 'wraith-tunnel';
     const stream = await connect({ ...JSON.parse(process.env.OPTIONS), identity: process.env.KEY });
     stream.end('done');
     for await (const chunk of stream) process.stdout.write(chunk);`,
    {
      env: { OPTIONS: JSON.stringify({ ...echo, identity: undefined }), KEY: support.userKey.path },
    },
  );
  assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: 'done', stderr: '' });
  const own = support.enginesOf().length; // the one directory that is there is our own engine's
  await support.until(() => support.leftBehind().length === own, 'its directory is removed');
});

test('worker threads have engines of their own, which end with them', async () => {
  const before = support.enginesOf();
  const worker = new Worker(
    `const { workerData, parentPort } = require('node:worker_threads');
     require('wraith-tunnel').connect({ ...workerData, identity: Buffer.from(workerData.identity) }).then(async (stream) => {
       stream.write('from a worker');
       stream.once('data', (data) => parentPort.postMessage(data.toString()));
     });`,
    { eval: true, workerData: echo },
  );
  assert.deepEqual(await once(worker, 'message'), ['from a worker']);
  assert.equal(support.enginesOf().length, before.length + 1);
  await worker.terminate();
  await support.until(() => support.enginesOf().length === before.length, 'its engine has ended');
  await support.until(() => support.leftBehind().length === before.length, 'its directory is gone');
});
