// What the tests share: real servers, real keys, and a look at what a process leaves behind.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));

/** The interpreter that has the Wraith of this repository. */
export const python =
  process.env.WRAITH_PYTHON ??
  [join(here, '../../.venv/bin/python')].find((path) => existsSync(path)) ??
  'python3';
process.env.WRAITH_PYTHON = python;

/** A folder of this test file: everything that it writes is in there, temporary files too. */
export const folder = mkdtempSync(join(tmpdir(), 'wt-'));
process.env.WRAITH_STATE_DIR = join(folder, 'state');
export const scratch = mkdtempSync(join(folder, 'tmp-'));
process.env.TMPDIR = scratch;
delete process.env.SSH_AUTH_SOCK;

const running = new Set();

after(async () => {
  for (const child of running) child.kill('SIGKILL');
  await Promise.all([...running].map((child) => once(child, 'close')));
  rmSync(folder, { recursive: true, force: true });
});

/** Start a program that ends with the tests at the latest. */
export function start(program, args, options) {
  const child = spawn(program, args, options);
  running.add(child);
  child.once('close', () => running.delete(child));
  return child;
}

let keys = 0;

/** A new key pair: paths, and the private key as a Buffer. */
export function makeKey() {
  const path = join(folder, `key${keys++}`);
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'a test', '-f', path]);
  const fingerprint = execFileSync('ssh-keygen', ['-l', '-f', path]).toString().split(' ')[1];
  return {
    path,
    publicPath: `${path}.pub`,
    bytes: readFileSync(path),
    publicBytes: readFileSync(`${path}.pub`),
    fingerprint,
  };
}

export const userKey = makeKey();
export const hostKey = makeKey();

/** `wraith serve` as a process of its own; `options` reach its streams' `connect`. */
export async function startServer(...args) {
  const child = start(
    python,
    [
      ...['-m', 'wraith', 'serve', '--listen', '127.0.0.1:0', '--key', hostKey.path],
      ...['--authorized-keys', userKey.publicPath, '--ready-fd', '3', ...args],
    ],
    { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] },
  );
  let said = '';
  child.stderr.on('data', (data) => (said += data));
  const [line] = await Promise.race([
    once(child.stdio[3], 'data'),
    once(child, 'close').then(() => Promise.reject(new Error(`the server ended: ${said}`))),
  ]);
  const facts = JSON.parse(line.toString());
  const address = facts.listen[0].replace('tcp://', '');
  return {
    child,
    address,
    log: () => said,
    options: { server: address, user: 'tester', identity: userKey.bytes, hostKey: facts.host_key },
    async stop() {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL');
        await once(child, 'close');
      }
    },
  };
}

/** A TCP server of this process on loopback, which `handler` answers; its `host:port`. */
export async function startOrigin(handler) {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    handler(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  after(() => server.close());
  return `127.0.0.1:${server.address().port}`;
}

/** All that a stream has to say, as text; its other direction stays open. */
export async function text(stream) {
  let said = '';
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) said += chunk;
  return said;
}

/** Wait until `probe` returns something true, and return that; fail after `limit` milliseconds. */
export async function until(probe, what, limit = 10_000) {
  const deadline = Date.now() + limit;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`it never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The error that a promise is rejected with. */
export async function rejection(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('it was expected to fail');
}

/** The ids of the children of a process that live. */
export function childrenOf(pid) {
  const found = [];
  try {
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      const line = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8');
      found.push(...line.split(' ').filter(Boolean).map(Number));
    }
  } catch {
    // it has just ended
  }
  return found;
}

export function commandOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return [];
  }
}

/** The engines of a process, this one by default. */
export function enginesOf(pid = process.pid) {
  return childrenOf(pid).filter((child) => commandOf(child).includes('engine'));
}

export function isAlive(pid) {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}

/** Resident memory in MiB. */
export function memoryOf(pid) {
  const [, kib] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(kib) / 1024;
}

/** The directories that this package has made and not removed. */
export function leftBehind(where = scratch) {
  return readdirSync(where).filter((name) => name.startsWith('wraith-'));
}

/** The open sockets of a process, by the kernel's names for them. */
export function socketsOf(pid) {
  const found = [];
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const target = readlinkSync(`/proc/${pid}/fd/${fd}`);
      if (target.startsWith('socket:')) found.push(target);
    } catch {
      // closed meanwhile
    }
  }
  return found;
}

/** Run a program of a test in a Node of its own; how it ended and what it said. */
export async function runNode(source, { env = {}, args = [], type = 'module' } = {}) {
  const child = startNode(source, { env, args, type });
  const [code, signal] = await once(child, 'close');
  return { code, signal, stdout: child.said.stdout, stderr: child.said.stderr };
}

/** The same, not waited for. It can import the package by its name. */
export function startNode(source, { env = {}, args = [], type = 'module' } = {}) {
  const child = start(process.execPath, [`--input-type=${type}`, '--eval', source, '--', ...args], {
    cwd: join(here, '..'),
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) {
    child[name].on('data', (data) => (child.said[name] += data));
  }
  return child;
}
