// serve(): Wraith and OpenSSH clients reach this program, and nothing else of this machine.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectTcp, createConnection } from 'node:net';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { connect, serve, WraithError } from 'wraith-tunnel';

import * as support from './support.mjs';
import { text } from './support.mjs';

const material = {
  listen: '127.0.0.1:0',
  hostKey: support.hostKey.bytes,
  authorizedKeys: support.userKey.publicBytes,
};

let server;
const infos = [];

before(async () => {
  server = await serve({ ...material, services: ['wraith-control', 'wraith-upper'] });
  server.onConnection(async (stream, info) => {
    infos.push(info);
    stream.on('error', () => {});
    if (info.service === 'wraith-upper') stream.end((await text(stream)).toUpperCase());
    else stream.pipe(stream);
  });
});

after(() => server.close());

const port = () => server.listenAddresses[0].split(':').at(-1);

const toServer = () => ({
  server: `127.0.0.1:${port()}`,
  hostKey: server.hostKeyFingerprint,
  user: 'alice',
  identity: support.userKey.bytes,
});

/** What a stock ssh says that is called with these arguments. */
function ssh(input, ...args) {
  const known = join(support.folder, 'known_hosts');
  const [type, key] = support.hostKey.publicBytes.toString().split(' ');
  writeFileSync(known, `[127.0.0.1]:${port()} ${type} ${key}\n`);
  const child = support.start('ssh', [
    ...['-F', 'none', '-o', 'BatchMode=yes', '-o', `UserKnownHostsFile=${known}`],
    ...['-o', 'IdentitiesOnly=yes', '-i', support.userKey.path, '-p', port()],
    ...[...args, 'bob@127.0.0.1'],
  ]);
  const said = { stdout: '', stderr: '' };
  child.stdout.on('data', (data) => (said.stdout += data));
  child.stderr.on('data', (data) => (said.stderr += data));
  child.stdin.end(input);
  return once(child, 'close').then(([code]) => ({ code, ...said }));
}

test('a client of this package is served, and told apart', async () => {
  const stream = await connect(toServer());
  assert.equal(await text(stream.end('hello')), 'hello');
  assert.deepEqual(infos.at(-1), {
    service: 'wraith-control',
    user: 'alice',
    keyFingerprint: support.userKey.fingerprint,
    principals: [],
    transport: 'tcp',
    remoteAddress: '127.0.0.1',
  });
});

test('a stock ssh is served, whatever port it asks for', async () => {
  assert.equal((await ssh('from ssh', '-W', 'wraith-control:1')).stdout, 'from ssh');
  assert.equal(infos.at(-1).user, 'bob');
  assert.equal((await ssh('loud', '-W', 'wraith-upper:77')).stdout, 'LOUD');
  assert.equal(infos.at(-1).service, 'wraith-upper');
});

test('the command line of Python is served', async () => {
  const child = support.start(support.python, [
    ...['-m', 'wraith', 'stream', '--server', `127.0.0.1:${port()}`, 'wraith-upper:0'],
    ...['--host-key', server.hostKeyFingerprint, '--identity', support.userKey.path],
  ]);
  child.stdin.end('from python');
  assert.equal(await text(child.stdout), 'FROM PYTHON');
});

test('nothing else can be reached, and no port be opened, unless rules say so', async () => {
  const origin = await support.startOrigin((socket) => socket.end('secret'));
  for (const destination of [origin, 'wraith-echo:0', 'wraith-other:0', '/etc/passwd']) {
    const error = await support.rejection(connect({ ...toServer(), destination }));
    assert.equal(error.code, 'WRAITH_CHANNEL_REFUSED', destination);
    assert.equal(error.reason, 'EPERM', destination);
  }
  const answer = await ssh('', '-N', '-o', 'ExitOnForwardFailure=yes', '-R', '0:x:1');
  assert.notEqual(answer.code, 0);
  assert.match(answer.stderr, /remote port forwarding failed/);
  const open = await serve({ ...material, rules: ['allow loopback', 'deny *'] });
  const options = { ...toServer(), server: open.listenAddresses[0].replace('tcp://', '') };
  assert.equal(await text(await connect({ ...options, destination: origin })), 'secret');
  await open.close();
});

test('a key that is not on the list is turned away', async () => {
  const options = { ...toServer(), identity: support.makeKey().bytes };
  assert.equal((await support.rejection(connect(options))).code, 'WRAITH_AUTH_FAILED');
});

test('connections wait until there is a listener', async () => {
  const late = await serve(material);
  const options = { ...toServer(), server: late.listenAddresses[0].replace('tcp://', '') };
  const stream = await connect(options);
  stream.end('early');
  await sleep(100);
  late.onConnection((other) => other.pipe(other));
  assert.equal(await text(stream), 'early');
  await late.close();
});

test('a client that vanishes is an error of its stream only', async () => {
  const other = await connect(toServer());
  const victim = await serve(material);
  const seen = new Promise((resolve) => victim.onConnection(resolve));
  const client = support.startNode(
    `import { connect } from 'wraith-tunnel';
     const stream = await connect({ ...JSON.parse(process.argv[1]), identity: process.argv[2] });
     stream.write('half of a ');
     setInterval(() => {}, 1000);`,
    {
      args: [
        JSON.stringify({
          ...toServer(),
          identity: undefined,
          server: victim.listenAddresses[0].replace('tcp://', ''),
        }),
        support.userKey.path,
      ],
    },
  );
  const stream = await seen;
  await once(stream, 'data');
  client.kill('SIGKILL');
  const error = await support.rejection(text(stream));
  assert(error instanceof WraithError);
  assert.equal(await text(other.end('fine')), 'fine');
  await victim.close();
});

test('a port in use is told', async () => {
  const error = await support.rejection(serve({ ...material, listen: `127.0.0.1:${port()}` }));
  assert.equal(error.code, 'WRAITH_LISTEN_FAILED');
  assert.equal(error.reason, 'EADDRINUSE');
});

test('options that cannot be used are told', async () => {
  const told = async (options) => support.rejection(serve({ ...material, ...options }));
  assert.equal((await told({ services: ['http'] })).code, 'WRAITH_USAGE');
  assert.equal((await told({ hostKey: Buffer.from('no key') })).code, 'WRAITH_IDENTITY');
  assert.equal((await told({ rules: ['permit all'] })).code, 'WRAITH_USAGE');
});

test('close() frees the port, ends its streams and no others, and may be called twice', async () => {
  const doomed = await serve(material);
  const streams = [];
  doomed.onConnection((stream) => streams.push(stream.on('error', () => {}).resume()));
  const address = doomed.listenAddresses[0].replace('tcp://', '');
  const [mine, other] = await Promise.all([
    connect({ ...toServer(), server: address }),
    connect(toServer()),
  ]);
  await support.until(() => streams.length === 1, 'the stream has come');
  const ended = support.rejection(text(mine));
  await Promise.all([doomed.close({ drain: 0.1 }), doomed.close()]);
  assert((await ended) instanceof WraithError);
  await support.until(() => streams[0].destroyed, 'the stream of the server ends');
  const refused = connectTcp(Number(address.split(':')[1]), '127.0.0.1');
  assert.equal((await once(refused, 'error'))[0].code, 'ECONNREFUSED');
  assert.equal(await text(other.end('fine')), 'fine');
});

test('strangers at the port and at the private socket get nowhere', async () => {
  const stranger = createConnection(Number(port()), '127.0.0.1');
  stranger.on('error', () => {});
  stranger.write('GET / HTTP/1.0\r\n\r\n');
  await once(stranger.resume(), 'close');
  const [directory] = support.leftBehind();
  const intruder = createConnection(join(support.scratch, directory, 's'));
  intruder.on('error', () => {});
  intruder.write(Buffer.alloc(16));
  await once(intruder.resume(), 'close');
  assert.equal(await text((await connect(toServer())).end('fine')), 'fine');
});

test('a process with an open server stays, and ends once it is closed', async () => {
  const child = support.startNode(
    `import { serve } from 'wraith-tunnel';
     const [listen, hostKey, authorizedKeys] = process.argv.slice(1);
     const server = await serve({ listen, hostKey, authorizedKeys });
     process.stdout.write('open');
     process.stdin.once('data', () => { process.stdin.destroy(); server.close(); });`,
    { args: ['127.0.0.1:0', support.hostKey.path, support.userKey.publicPath] },
  );
  await support.until(() => child.said.stdout === 'open', 'it is open');
  await sleep(300);
  assert.equal(child.exitCode, null);
  child.stdin.write('close');
  const [code] = await once(child, 'close');
  assert.equal(code, 0, child.said.stderr);
});
