// examples/node-hub as it stands: compiled with strict types, and run behind NAT.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import * as support from './support.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const script = fileURLToPath(new URL('peers/behind-nat.sh', import.meta.url));

const unshare = process.getuid() === 0 ? ['-n', '-m'] : ['-r', '-n', '-m'];
const NAT =
  'ip link add one type veth peer name two && iptables -t nat -A POSTROUTING -j MASQUERADE';
const trial = spawnSync('unshare', [...unshare, 'sh', '-c', NAT], { encoding: 'utf8' });
const possible = trial.status === 0 || process.env.CI === 'true';
const skip = possible ? false : `no network namespaces with NAT here: ${trial.stderr}`;

test('a hub and two workers behind NAT exchange events', { skip, timeout: 90_000 }, async () => {
  const example = join(support.folder, 'node-hub');
  cpSync(join(root, '../examples/node-hub'), example, { recursive: true });
  mkdirSync(join(example, 'node_modules'));
  symlinkSync(root, join(example, 'node_modules/wraith-tunnel'));
  symlinkSync(join(root, 'node_modules/@types'), join(example, 'node_modules/@types'));
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  execFileSync(process.execPath, [tsc, '--skipLibCheck'], { cwd: example, stdio: 'inherit' });

  const child = support.start('unshare', [
    ...[...unshare, 'sh', script, process.execPath, join(example, 'dist')],
    ...[support.hostKey.path, support.userKey.publicPath],
    ...[support.hostKey.fingerprint, support.userKey.path],
  ]);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (said += data));
  const done = () => said.includes('alice: 1 4 9 16 25') && said.includes('bob: 1 4 9 16 25');
  await support.until(done, 'both have their squares', 60_000).catch((error) => {
    throw new Error(`${error.message}\n${said}`);
  });
  child.stdin.end('enough\n');
  await once(child, 'close');
  assert.match(said, /hub ended well/);
  // The hub has seen the routers, and never what is behind them.
  assert.match(said, /connection opened remote_addr=203\.0\.113\.11/);
  assert.match(said, /connection opened remote_addr=203\.0\.113\.12/);
  assert(!said.includes('remote_addr=10.'));
});
