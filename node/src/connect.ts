/** `connect(options)`: one channel of a tunnel, as a Duplex. */

import type { Duplex } from 'node:stream';

import { engineFor } from './engine.js';
import { connectSettings, type ConnectOptions } from './options.js';
import { Verdict, WraithStream } from './stream.js';

const DEFAULT_DESTINATION = 'wraith-control:0';

/**
 * Open one stream through a Wraith or OpenSSH server. Its SSH session belongs to it and ends with
 * it; nothing is reconnected by itself.
 *
 * Rejects with a `WraithError` (its `code` says what happened), or as the `signal` says. The stream
 * ends with an error of the same kind when it is cut short, by whatever end.
 */
export async function connect(options: ConnectOptions): Promise<Duplex> {
  const { signal } = options;
  signal?.throwIfAborted();
  const settings = connectSettings(options);
  const destination = options.destination ?? DEFAULT_DESTINATION;
  const engine = await engineFor(options.python);
  signal?.throwIfAborted();
  const verdict = new Verdict();
  const asked = { options: settings, destination };
  try {
    const { number, socket } = await engine.openStream('connect', asked, verdict, signal);
    if (verdict.outcome) {
      // It is over already: told here, since nobody can listen to the stream yet.
      engine.forgetStream(number);
      socket.destroy();
      throw verdict.outcome;
    }
    return new WraithStream(engine, number, socket, verdict);
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}
