// Crashes: whatever dies, the rest is told at once and nothing is left behind.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { before, test } from 'node:test';

import { connect, serve, WraithError } from 'wraith-tunnel';

import * as support from './support.mjs';
import { text } from './support.mjs';

const SOON = 200; // milliseconds

let server, echo;

before(async () => {
  server = await support.startServer();
  echo = { ...server.options, destination: 'wraith-echo:0' };
});

/** Repeat a story until it took less than `SOON`: on a busy machine the first may take longer. */
async function soon(story) {
  const took = [];
  for (let attempt = 0; attempt < 5; attempt++) {
    took.push(await story());
    if (took.at(-1) < SOON) return;
  }
  assert.fail(`it took ${took.join(', ')} ms`);
}

for (const signal of ['SIGKILL', 'SIGTERM', 'SIGSEGV']) {
  test(`an engine that ends by ${signal} is an error of every stream and server, and the next works`, () =>
    soon(async () => {
      const streams = await Promise.all([connect(echo), connect(echo), connect(echo)]);
      const mine = await serve({
        listen: '127.0.0.1:0',
        hostKey: support.hostKey.bytes,
        authorizedKeys: support.userKey.publicBytes,
      });
      const silent = await support.startOrigin(() => {});
      const failures = [
        ...streams.map((stream) => support.rejection(text(stream))),
        once(mine, 'error').then(([error]) => error),
        support.rejection(connect({ ...echo, server: silent })),
      ];
      await new Promise((resolve) => setTimeout(resolve, 100));
      const [engine] = support.enginesOf();
      const began = Date.now();
      process.kill(engine, signal);
      for (const failure of failures) {
        const error = await failure;
        assert(error instanceof WraithError);
        assert.equal(error.code, 'WRAITH_ENGINE_EXITED');
      }
      const took = Date.now() - began;
      assert.deepEqual(support.leftBehind(), []);
      await support.until(() => !support.isAlive(engine), 'the engine is gone');
      await mine.close();
      assert.equal(await text((await connect(echo)).end('again')), 'again');
      assert.notEqual(support.enginesOf()[0], engine);
      return took;
    }));
}

test('an engine killed in the middle of a download is never a clean end', async () => {
  const address = await support.startOrigin((socket) => {
    socket.write(Buffer.alloc(5_000_000));
    socket.end();
  });
  for (let round = 0; round < 5; round++) {
    const stream = await connect({ ...server.options, destination: address });
    let size = 0;
    const ended = (async () => {
      for await (const chunk of stream) {
        size += chunk.length;
        if (size > round * 1_000_000) {
          for (const engine of support.enginesOf()) process.kill(engine, 'SIGKILL');
        }
      }
    })();
    const error = await ended.then(
      () => undefined,
      (failure) => failure,
    );
    if (error === undefined) assert.equal(size, 5_000_000);
    else assert.equal(error.code, 'WRAITH_ENGINE_EXITED');
    await support.until(() => support.enginesOf().length === 0, 'the engine is gone');
  }
});

/** A Node process with a stream and a server, that is to be killed. */
async function victim() {
  let ended;
  const address = await support.startOrigin((socket) => {
    ended = new Promise((resolve) => {
      socket.once('end', () => resolve('end')).once('error', (error) => resolve(error.code));
    });
    socket.resume();
  });
  const child = support.startNode(
    `import { connect, serve } from 'wraith-tunnel';
     const [options, identity, hostKey, authorizedKeys] = process.argv.slice(1);
     const server = await serve({ listen: '127.0.0.1:0', hostKey, authorizedKeys });
     const stream = await connect({ ...JSON.parse(options), identity });
     stream.write('half of a ');
     process.stdout.write('ready');
     setInterval(() => {}, 1000);`,
    {
      args: [
        JSON.stringify({ ...server.options, identity: undefined, destination: address }),
        ...[support.userKey.path, support.hostKey.path, support.userKey.publicPath],
      ],
    },
  );
  await support.until(() => child.said.stdout === 'ready', `ready: ${child.said.stderr}`);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const [engine] = support.enginesOf(child.pid);
  return { child, engine, ended: () => ended };
}

for (const signal of ['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP']) {
  test(`a Node that ends by ${signal} takes its engine, sockets and directory with it`, () =>
    soon(async () => {
      const own = support.leftBehind();
      const { child, engine, ended } = await victim();
      assert.equal(support.leftBehind().length, own.length + 1);
      const began = Date.now();
      child.kill(signal);
      await support.until(() => !support.isAlive(engine), 'the engine is gone');
      const took = Date.now() - began;
      assert.deepEqual(support.leftBehind(), own);
      assert.equal(await ended(), 'ECONNRESET'); // what was not finished does not look finished
      return took;
    }));
}

test('a terminal that interrupts the whole group leaves nothing', async () => {
  const own = support.leftBehind();
  const { child, engine } = await victim();
  process.kill(engine, 'SIGINT'); // the engine minds its parent, not the terminal
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert(support.isAlive(engine));
  child.kill('SIGINT');
  await support.until(() => !support.isAlive(engine), 'the engine is gone');
  assert.deepEqual(support.leftBehind(), own);
});

test('process.exit() in the middle leaves nothing', async () => {
  const own = support.leftBehind();
  const { code } = await support.runNode(
    `import { connect } from 'wraith-tunnel';
     const [options, identity] = process.argv.slice(1);
     const stream = await connect({ ...JSON.parse(options), identity });
     stream.write('x');
     process.exit(3);`,
    { args: [JSON.stringify({ ...echo, identity: undefined }), support.userKey.path] },
  );
  assert.equal(code, 3);
  assert.deepEqual(support.leftBehind(), own);
});

test('what was finished before the process ended still arrives', async () => {
  let said;
  const address = await support.startOrigin((socket) => {
    said = new Promise((resolve) => setTimeout(() => resolve(text(socket)), 200)); // a slow reader
    socket.end();
  });
  const { code } = await support.runNode(
    `import { connect } from 'wraith-tunnel';
     const [options, identity] = process.argv.slice(1);
     const stream = await connect({ ...JSON.parse(options), identity });
     stream.resume().end(Buffer.alloc(3_000_000, 'x'), () => process.exit(0));`,
    {
      args: [
        JSON.stringify({ ...server.options, identity: undefined, destination: address }),
        support.userKey.path,
      ],
    },
  );
  assert.equal(code, 0);
  assert.equal((await said).length, 3_000_000);
});
