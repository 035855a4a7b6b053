// What both languages must say alike: codes of errors, names of options, bytes of frames.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';

import { python } from './support.mjs';

const require = createRequire(import.meta.url);
const { NODE_CODES, SHARED_CODES } = require('../dist/errors.js');
const { encode, FrameReader } = require('../dist/controlFrames.js');

const ask = (source) => JSON.parse(execFileSync(python, ['-c', source], { encoding: 'utf8' }));

test('the codes are those of the Python tree', () => {
  const tree = ask(`
import json, wraith.errors as errors
def tree(kind):
    yield kind.code
    for below in kind.__subclasses__():
        yield from tree(below)
print(json.dumps(sorted(set(tree(errors.WraithError)))))`);
  assert.deepEqual([...SHARED_CODES].sort(), tree);
});

test('the codes of this package alone are in the reference, like the others', () => {
  const reference = readFileSync(
    new URL('../../docs/reference/errors.md', import.meta.url),
    'utf8',
  );
  for (const code of [...SHARED_CODES, ...NODE_CODES])
    assert(reference.includes(`\`${code}\``), code);
});

test('the options that are typed here are those that the engine takes', () => {
  const offered = ask(`
import json
from wraith.engine.settings import offered
from wraith.client.options import ConnectOptions
from wraith.server.options import ServeOptions
print(json.dumps({"Connect": list(offered(ConnectOptions)), "Serve": list(offered(ServeOptions))}))`);
  const types = readFileSync(new URL('../src/options.ts', import.meta.url), 'utf8');
  const own = ['destination', 'python', 'signal', 'services'];
  for (const [kind, names] of Object.entries(offered)) {
    const [, body] = new RegExp(`export interface ${kind}Options \\{(.*?)\\n\\}`, 's').exec(types);
    const typed = [...body.matchAll(/^ {2}(\w+)\?:/gm)]
      .map(([, name]) => (kind === 'Serve' && name === 'hostKey' ? 'key' : name))
      .filter((name) => !own.includes(name));
    assert.deepEqual(
      typed.filter((name) => !names.includes(name)),
      [],
      `${kind}Options has what the engine refuses`,
    );
    assert.deepEqual(
      names.filter((name) => !typed.includes(name)),
      [],
      `${kind}Options lacks what the engine takes`,
    );
  }
});

test('a message to the engine is read by the engine, bytes in their places', () => {
  const message = { op: 'connect', id: 7, options: { identity: [Buffer.from([0, 255]), 'path'] } };
  const pieces = encode(message);
  assert(pieces.includes(message.options.identity[0])); // not copied
  const hex = Buffer.concat(pieces).toString('hex');
  const read = ask(`
import json
from wraith.engine.frames import FrameReader
(message,) = FrameReader().feed(bytes.fromhex("${hex}"))
head = dict(message.head)
head["options"]["identity"][0] = list(head["options"]["identity"][0])
print(json.dumps(head))`);
  assert.deepEqual(read.options, { identity: [[0, 255], 'path'] });
  assert.equal(read.id, 7);
});

test('messages of the engine are read however they are cut', () => {
  const bytes = Buffer.concat([
    ...encode({ event: 'one', text: 'hé' }),
    ...encode({ event: 'two' }),
  ]);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const reader = new FrameReader();
    const read = [...reader.feed(bytes.subarray(0, cut)), ...reader.feed(bytes.subarray(cut))];
    assert.deepEqual(
      read.map((message) => [message.event, message.text]),
      [
        ['one', 'hé'],
        ['two', undefined],
      ],
    );
  }
});

test('a message beyond any size is refused before it is waited for', () => {
  assert.throws(() => [...new FrameReader().feed(Buffer.from([255, 255, 255, 255]))]);
});
