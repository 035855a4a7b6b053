// How Node may reach Python: what each way costs. Reports, and never fails on a time.
//
//   (cd node && npm ci && npm run build)
//   mkdir -p bench/out && cc -O2 -shared -fPIC -I/usr/include/node \
//       -o bench/out/embedded.node bench/node/embedded.c -ldl -lpthread
//   node bench/node/bridge.mjs [ROUNDS]
//
// Each figure is the median over the rounds, in which the ways take turns, each in a new process.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect as connectSocket, createServer, Socket } from 'node:net';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const here = fileURLToPath(new URL('.', import.meta.url));
const python = join(here, '../../.venv/bin/python');
const addon = join(here, '../out/embedded.node');
const BYTES = 200_000_000;
const LATER = 20;

process.env.WRAITH_PYTHON = python;

// The ways: each gives a function that opens one stream.

/** The package as it is: a child for each Node process. */
async function child(options) {
  const { connect } = require('../../node/dist/index.js');
  return (destination) => connect({ ...options, destination });
}

/** The package's own engine and streams over a control channel that came from elsewhere. */
async function overSocket(options, open) {
  const { Engine } = require('../../node/dist/engine.js');
  const { HostSocket } = require('../../node/dist/hostSocket.js');
  const { Verdict, WraithStream } = require('../../node/dist/stream.js');
  const host = await HostSocket.open();
  const control = await open(host.directory);
  const stands = { stdio: [null, null, null, control], stderr: null, once() {}, unref() {}, kill() {} };
  const engine = new Engine(stands, host, () => {});
  return async (destination) => {
    const verdict = new Verdict();
    const asked = { options, destination };
    const { number, socket } = await engine.openStream('connect', asked, verdict);
    return new WraithStream(engine, number, socket, verdict);
  };
}

/** An interpreter in a thread of Node. */
function embedded(options) {
  const library = execFileSync(python, [
    '-c',
    'import sysconfig; print(sysconfig.get_config_var("LIBDIR") + "/" + sysconfig.get_config_var("INSTSONAME"))',
  ]);
  return overSocket(options, (directory) => {
    const source = `
import asyncio, pathlib
from wraith.engine.control import run
from wraith.streams.hub import new_event_loop
with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(run(%d, pathlib.Path("${directory}")))
`;
    const fd = require(addon).start(library.toString().trim(), python, source);
    return new Socket({ fd, readable: true, writable: true });
  });
}

/** A process that was there before. */
function daemon(options) {
  return overSocket(options, async (directory) => {
    const control = connectSocket(process.env.DAEMON);
    await once(control, 'connect');
    control.write(directory);
    await new Promise((resolve) => setTimeout(resolve, 5)); // one message, before the others
    return control;
  });
}

/** For comparison: an ssh for each stream. */
async function openssh({ server, keyPath }) {
  const [host, port] = server.split(':');
  return async (destination) => {
    const ssh = spawn('ssh', [
      ...['-F', 'none', '-o', 'BatchMode=yes', '-o', 'StrictHostKeyChecking=no'],
      ...['-o', 'UserKnownHostsFile=/dev/null', '-o', 'LogLevel=ERROR', '-o', 'IdentitiesOnly=yes'],
      ...['-i', keyPath, '-p', port, '-W', destination, `tester@${host}`],
    ]);
    return Duplex.from({ readable: ssh.stdout, writable: ssh.stdin }).on('error', () => {});
  };
}

const WAYS = { child, embedded, daemon, openssh };

async function measure(way) {
  const { options, keyPath, sink, source, echo } = JSON.parse(process.env.ASKED);
  const settings = { ...options, identity: readFileSync(keyPath), keyPath };
  const began = performance.now();
  if (way !== 'openssh') delete settings.keyPath;
  const open = await WAYS[way](settings);
  const touch = async () => {
    const stream = await open(echo);
    stream.write('x');
    await once(stream, 'data');
    return stream;
  };
  const first = await touch();
  const figures = { first: performance.now() - began, later: [] };
  first.destroy();
  for (let count = 0; count < LATER; count++) {
    const start = performance.now();
    const stream = await touch();
    figures.later.push(performance.now() - start);
    stream.destroy();
  }
  figures.later = median(figures.later);
  figures.up = await rate(async () => {
    const stream = await open(sink);
    const chunk = Buffer.alloc(1 << 16);
    for (let sent = 0; sent < BYTES; sent += chunk.length) {
      if (!stream.write(chunk)) await once(stream, 'drain');
    }
    stream.end();
    await once(stream.resume(), 'end');
  });
  figures.down = await rate(async () => {
    const stream = await open(source);
    await once(stream.resume(), 'end');
    stream.end();
  });
  console.log(JSON.stringify(figures));
  process.exit();
}

async function rate(work) {
  const start = performance.now();
  await work();
  return BYTES / 1000 / (performance.now() - start);
}

function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

// The rounds

async function origin(handler) {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    handler(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `127.0.0.1:${server.address().port}`;
}

async function stage(folder) {
  const keyPath = join(folder, 'id');
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', keyPath]);
  const server = spawn(
    python,
    [
      ...['-m', 'wraith', 'serve', '--listen', '127.0.0.1:0', '--key', join(folder, 'host')],
      ...['--authorized-keys', `${keyPath}.pub`, '--ready-fd', '3', '--log-level', 'error'],
    ],
    { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] },
  );
  const [line] = await once(server.stdio[3], 'data');
  const facts = JSON.parse(line);
  const socket = join(folder, 'daemon');
  const other = spawn(python, [join(here, 'daemon.py'), socket], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(other.stdout, 'data');
  const block = Buffer.alloc(1 << 16);
  const asked = {
    options: { server: facts.listen[0].slice(6), user: 'tester', hostKey: facts.host_key },
    ...{ keyPath, echo: await origin((socket) => socket.pipe(socket)) },
    sink: await origin((socket) => socket.resume().on('end', () => socket.end())),
    source: await origin(async (socket) => {
      for (let sent = 0; sent < BYTES; sent += block.length) {
        if (!socket.write(block)) await once(socket, 'drain');
      }
      socket.end();
    }),
  };
  const env = { ...process.env, ASKED: JSON.stringify(asked), DAEMON: socket };
  return { env, stop: () => [server, other].forEach((process) => process.kill('SIGKILL')) };
}

async function run(way, env) {
  const process_ = spawn(process.execPath, [fileURLToPath(import.meta.url), '--measure', way], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  process_.stdout.on('data', (data) => (said += data));
  await once(process_, 'close');
  return said ? JSON.parse(said) : undefined;
}

if (process.argv[2] === '--measure') await measure(process.argv[3]);
else {
  const folder = mkdtempSync(join(tmpdir(), 'bridge-'));
  const { env, stop } = await stage(folder);
  const ways = Object.keys(WAYS).filter((way) => way !== 'embedded' || existsSync(addon));
  const found = Object.fromEntries(ways.map((way) => [way, []]));
  for (let round = 0; round < Number(process.argv[2] ?? 3); round++) {
    for (const way of ways) {
      const figures = await run(way, env);
      if (figures) found[way].push(figures);
    }
  }
  stop();
  rmSync(folder, { recursive: true });
  console.table(
    Object.fromEntries(
      ways.map((way) => [
        way,
        Object.fromEntries(
          [['first', 'first, ms'], ['later', 'later, ms'], ['up', 'up, MB/s'], ['down', 'down, MB/s']].map(
            ([name, title]) => [title, Math.round(median(found[way].map((f) => f[name])) * 10) / 10],
          ),
        ),
      ]),
    ),
  );
  process.exit();
}
