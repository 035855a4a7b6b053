// Every transport carries the same streams: both ends are this package.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';

import { connect, serve } from 'wraith-tunnel';

import * as support from './support.mjs';
import { text } from './support.mjs';

const material = {
  hostKey: support.hostKey.bytes,
  authorizedKeys: support.userKey.publicBytes,
  maxStartupsPerIp: 100,
};

/** How a server listens, and how a client finds it. */
const TRANSPORTS = {
  tcp: {
    listen: { listen: 'tcp://127.0.0.1:0' },
    reach: (server) => ({ server: server.listenAddresses[0].slice('tcp://'.length) }),
  },
  tls: {
    listen: { listen: 'tls://127.0.0.1:0', tlsSelfSigned: true },
    reach: (server) => ({
      transport: 'tls',
      server: server.listenAddresses[0].slice('tls://'.length),
      tlsPin: server.tlsPin,
    }),
  },
  iroh: {
    listen: {
      ...{ listen: 'iroh://127.0.0.1:0', irohRelay: 'disabled' },
      irohKey: join(support.folder, 'iroh.key'),
    },
    reach: (server) => {
      const address = server.listenAddresses[0].split('@')[1];
      const peer = `${server.endpointId}@${address}`;
      return { transport: 'iroh', peer, irohRelay: 'disabled' };
    },
    needs: 'iroh',
  },
};

/** Why a transport cannot be tried here; in CI it has to be. */
function missing(library) {
  if (library === undefined || process.env.CI === 'true') return false;
  const { status } = spawnSync(support.python, ['-c', `import ${library}`]);
  return status === 0 ? false : `Python has no ${library} here`;
}

for (const [name, { listen, reach, needs }] of Object.entries(TRANSPORTS)) {
  describe(`over ${name}`, { skip: missing(needs), timeout: 90_000 }, () => {
    let server, options, infos;

    before(async () => {
      server = await serve({ ...material, ...listen });
      infos = [];
      server.onConnection((stream, info) => {
        infos.push(info);
        stream.on('error', () => {}).pipe(stream);
      });
      options = {
        ...reach(server),
        ...{ hostKey: server.hostKeyFingerprint, user: 'tester', identity: support.userKey.bytes },
      };
    });

    test('a stream goes out and comes back, and the server knows by which way', async () => {
      assert.equal(await text((await connect(options)).end('hello')), 'hello');
      const { transport, keyFingerprint } = infos[0];
      assert.deepEqual([transport, keyFingerprint], [name, support.userKey.fingerprint]);
    });

    test('20 MB there and back, hashed', async () => {
      const bytes = Buffer.alloc(20_000_000, 'Wraith ');
      const stream = await connect(options);
      stream.end(bytes);
      const hash = createHash('sha256');
      for await (const chunk of stream) hash.update(chunk);
      assert.equal(hash.digest('hex'), createHash('sha256').update(bytes).digest('hex'));
    });

    test('a hundred streams at once', async () => {
      const streams = await Promise.all(
        Array.from({ length: 100 }, () => connect({ ...options, connectTimeout: 60 })),
      );
      const said = await Promise.all(
        streams.map((stream, number) => text(stream.end(`stream ${number}`))),
      );
      assert.deepEqual(
        said,
        said.map((_, number) => `stream ${number}`),
      );
    });

    test('a stranger to the host key is told apart from the transport', async () => {
      const wrong = { ...options, hostKey: `SHA256:${'A'.repeat(43)}` };
      const error = await support.rejection(connect(wrong));
      assert.equal(error.code, 'WRAITH_HOST_KEY_MISMATCH');
    });

    test('close() ends it', async () => {
      const stream = await connect(options);
      const ended = support.rejection(text(stream));
      await server.close({ drain: 0 });
      assert.match((await ended).code, /^WRAITH_(CHANNEL_FAILED|SESSION_LOST)$/);
    });
  });
}
