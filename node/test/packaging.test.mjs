// The package as others get it: packed, installed into an empty project, used in three ways.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import * as support from './support.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const project = join(support.folder, 'project');
const npm = (args, cwd) =>
  execFileSync('npm', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

let files, server;

before(async () => {
  mkdirSync(project);
  const [packed] = JSON.parse(
    npm(['pack', '--json', '--ignore-scripts', '--pack-destination', project], root),
  );
  files = packed.files.map((file) => file.path);
  writeFileSync(join(project, 'package.json'), '{ "name": "empty", "private": true }');
  npm(['install', '--offline', '--no-audit', '--no-fund', `./${packed.filename}`], project);
  server = await support.startServer();
});

const ECHO = `connect({ ...JSON.parse(process.env.OPTIONS), identity: process.env.KEY })
  .then(async (stream) => {
    stream.end('packed');
    for await (const chunk of stream) process.stdout.write(chunk);
  });`;

const run = (name, source) => {
  writeFileSync(join(project, name), source);
  const options = { ...server.options, identity: undefined, destination: 'wraith-echo:0' };
  return execFileSync(process.execPath, [name], {
    cwd: project,
    encoding: 'utf8',
    env: { ...process.env, OPTIONS: JSON.stringify(options), KEY: support.userKey.path },
  });
};

test('it holds what it needs and no more', () => {
  const expected = /^(dist\/\w+\.(js|mjs|d\.ts|d\.mts)|README\.md|LICENSE|package\.json)$/;
  assert.deepEqual(
    files.filter((file) => !expected.test(file)),
    [],
  );
  for (const file of ['README.md', 'LICENSE', 'dist/index.js', 'dist/index.mjs']) {
    assert(files.includes(file), file);
  }
});

test('it brings no dependency, no script that runs on installing, and no compiled code', () => {
  const lock = JSON.parse(readFileSync(join(project, 'package-lock.json'), 'utf8'));
  assert.deepEqual(Object.keys(lock.packages), ['', 'node_modules/wraith-tunnel']);
  const manifest = JSON.parse(
    readFileSync(join(project, 'node_modules/wraith-tunnel/package.json'), 'utf8'),
  );
  for (const name of ['preinstall', 'install', 'postinstall', 'prepare']) {
    assert.equal(manifest.scripts[name], undefined);
  }
});

test('an ES module can use it', () => {
  assert.equal(run('esm.mjs', `import { connect } from 'wraith-tunnel';\n${ECHO}`), 'packed');
});

test('a CommonJS module can use it', () => {
  const source = `const { connect } = require('wraith-tunnel');\n${ECHO}`;
  assert.equal(run('cjs.cjs', source), 'packed');
});

test('both module systems get the same names and the same objects, so there is one engine', () => {
  const source = `
    import * as esm from 'wraith-tunnel';
    import { createRequire } from 'node:module';
    const cjs = createRequire(import.meta.url)('wraith-tunnel');
    const names = (module) => Object.keys(module).filter((name) => name !== 'default').sort();
    const same = names(cjs).every((name) => cjs[name] === esm[name]);
    console.log(JSON.stringify([names(esm), names(cjs), same]));`;
  const [esm, cjs, same] = JSON.parse(run('both.mjs', source));
  assert.deepEqual(esm, cjs);
  assert(esm.includes('connect') && esm.includes('serve') && same);
});

const TYPED = `
  import type { Duplex } from 'node:stream';
  import {
    type ConnectionInfo, connect, createWraithEventTarget, type EventEnvelope, serve,
    type TopicEvent, WraithError, type WraithErrorCode, type WraithEventTarget,
  } from 'wraith-tunnel';

  type Chat = EventEnvelope<{ text: string }>;

  export function chat(stream: Duplex): WraithEventTarget<TopicEvent<Chat>> {
    const target = createWraithEventTarget<TopicEvent<Chat>>({ stream });
    target.addEventListener('chat:room', ({ detail }) => detail.payload.text.toUpperCase());
    target.addEventListener('chat:room', { handleEvent: (event) => event.detail.id }, { once: true });
    // @ts-expect-error: the payload has no such member
    target.addEventListener('chat:room', ({ detail }) => detail.payload.sound);
    return target;
  }

  export async function use(): Promise<string> {
    const stream: Duplex = await connect({ server: 'example.com', identity: Buffer.from('') });
    stream.destroy();
    const server = await serve({ listen: '127.0.0.1:0', authorizedKeys: Buffer.from('') });
    server.onConnection((incoming: Duplex, info: ConnectionInfo) => {
      incoming.end(info.keyFingerprint.toUpperCase());
    });
    const addresses: readonly string[] = server.listenAddresses;
    await server.close();
    return addresses.join();
  }

  export function told(error: unknown): WraithErrorCode | undefined {
    return error instanceof WraithError ? error.code : undefined;
  }

  // @ts-expect-error: no such option
  void connect({ sever: 'example.com' });
`;

for (const [module, moduleResolution, ...names] of [
  ['Node16', 'Node16', 'typed.cts', 'typed.mts'],
  ['ESNext', 'Bundler', 'typed.ts'],
]) {
  test(`TypeScript finds strict types: ${names}, ${module}, ${moduleResolution}`, () => {
    for (const name of names) writeFileSync(join(project, name), TYPED);
    const config = {
      compilerOptions: {
        ...{ module, moduleResolution, target: 'ES2022', strict: true, noEmit: true },
        ...{ exactOptionalPropertyTypes: true, skipLibCheck: module !== 'Node16', types: ['node'] },
        typeRoots: [join(root, 'node_modules/@types')],
      },
      files: names,
    };
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(config));
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    try {
      execFileSync(process.execPath, [tsc, '-p', 'tsconfig.json'], {
        cwd: project,
        encoding: 'utf8',
      });
    } catch (error) {
      assert.fail(error.stdout);
    }
  });
}
