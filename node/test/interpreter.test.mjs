// Which Python is found, and what is said when none is.

import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { before, test } from 'node:test';

import * as support from './support.mjs';

const ASK = `
  import { connect } from 'wraith-tunnel';
  import { readFileSync } from 'node:fs';
  const [, python, identity] = process.argv;
  const attempt = () => connect({ server: '127.0.0.1:1', python: python || undefined, identity });
  await attempt().catch(() => {});
  attempt().catch(({ code, message, hint }) => {
    const children = readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8');
    const engines = children.split(' ').filter(Boolean).length;
    console.log(JSON.stringify({ code, message, hint, engines }));
  });`;

/** What a fresh process is told when it connects to a port where nothing listens. */
async function ask(env, python = '') {
  const args = [python, support.userKey.path];
  const { code, stdout, stderr } = await support.runNode(ASK, { env, args });
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

/** A folder with one program in it, to be a PATH. */
function folderWith(name, script) {
  const folder = join(support.folder, `path-${Math.random().toString(36).slice(2)}`);
  mkdirSync(folder);
  if (script !== undefined) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(folder, name), 0o755);
  }
  return folder;
}

const found = (told) => {
  assert.equal(told.code, 'WRAITH_TRANSPORT_FAILED', told.message);
  assert.equal(told.engines, 1); // one, for both attempts
};

let usual;
before(() => {
  usual = {
    WRAITH_PYTHON: undefined,
    PATH: `${dirname(process.execPath)}${delimiter}/usr/bin:/bin`,
  };
});

test('the option comes first', async () => {
  found(await ask({ ...usual, WRAITH_PYTHON: '/nowhere/python' }, support.python));
});

test('then WRAITH_PYTHON', async () => {
  found(
    await ask({ ...usual, PATH: folderWith('wraith', 'exit 7'), WRAITH_PYTHON: support.python }),
  );
});

test('then wraith on the PATH', async () => {
  const path = folderWith('wraith', `exec ${support.python} -m wraith "$@"`);
  found(await ask({ ...usual, PATH: `${path}${delimiter}${usual.PATH}` }));
});

test('then python3 -m wraith, also where another wraith is in the way', async () => {
  const path = folderWith('wraith', 'echo "I am something else"; exit 7');
  writeFileSync(join(path, 'python3'), `#!/bin/sh\nexec ${support.python} "$@"\n`);
  chmodSync(join(path, 'python3'), 0o755);
  found(await ask({ ...usual, PATH: `${path}:/usr/bin:/bin` }));
});

test('without any, it is said what was tried', async () => {
  const path = folderWith('wraith', 'echo "no such command: engine" >&2; exit 2');
  const told = await ask({ ...usual, PATH: path });
  assert.equal(told.code, 'WRAITH_PYTHON_NOT_FOUND');
  assert.match(told.message, /wraith on PATH: exit code 2, no such command: engine/);
  assert.match(told.message, /python3 -m wraith: not found/);
  assert.match(told.hint, /pip install wraith-tunnel/);
});

test('an interpreter that was named is the only one tried', async () => {
  const told = await ask({ ...usual, WRAITH_PYTHON: '/nowhere/python' });
  assert.equal(told.code, 'WRAITH_PYTHON_NOT_FOUND');
  assert.match(told.message, /WRAITH_PYTHON \(\/nowhere\/python -m wraith\): not found$/);
  const folder = folderWith();
  symlinkSync('/bin/false', join(folder, 'python'));
  const failed = await ask({ ...usual, WRAITH_PYTHON: '' }, join(folder, 'python'));
  assert.equal(failed.code, 'WRAITH_PYTHON_NOT_FOUND');
  assert.match(failed.message, /exit code 1/);
});

test('an engine of another version is told as such', async () => {
  const body = '{"event":"hello","protocol":99,"version":"9.9"}';
  const length = body.length.toString(8).padStart(3, '0');
  const hello = `printf '\\0\\0\\0\\${length}%s' '${body}' >&3; sleep 5`;
  const told = await ask({ ...usual, PATH: `${folderWith('wraith', hello)}:/usr/bin:/bin` });
  assert.equal(told.code, 'WRAITH_ENGINE_VERSION');
  assert.match(told.message, /9\.9/);
});

test('an engine that speaks nonsense is told as one that ended', async () => {
  const nonsense = `printf 'this is not a control channel' >&3; sleep 5`;
  const told = await ask({ ...usual, PATH: `${folderWith('wraith', nonsense)}:/usr/bin:/bin` });
  assert.match(told.code, /^WRAITH_(PYTHON_NOT_FOUND|ENGINE_EXITED)$/);
});

test('nothing is left of failed attempts', () => {
  assert.deepEqual(support.leftBehind(), []);
});
