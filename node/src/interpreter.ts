/** Which program can be the engine: where we look, in which order, and how a failure is told. */

import { WraithError } from './errors.js';

/** A command that may start the engine; `described` is how messages call it. */
export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly described: string;
}

/**
 * What to try, in order. An interpreter that somebody has named is the only one: another one in its
 * place would be a surprise.
 */
export function candidates(python: string | undefined, env: NodeJS.ProcessEnv): Command[] {
  if (python) return [interpreter(python, `the option python (${python} -m wraith)`)];
  const named = env['WRAITH_PYTHON'];
  if (named) return [interpreter(named, `WRAITH_PYTHON (${named} -m wraith)`)];
  return [
    { program: 'wraith', args: [], described: 'wraith on PATH' },
    interpreter('python3', 'python3 -m wraith'),
  ];
}

function interpreter(program: string, described: string): Command {
  // -P: what lies in the current directory under the name of wraith is not what we want to run.
  return { program, args: ['-P', '-m', 'wraith'], described };
}

/** Nothing that was tried is an engine; `tried` says of each what came of it. */
export function notFound(tried: readonly string[]): WraithError {
  return new WraithError(
    'WRAITH_PYTHON_NOT_FOUND',
    `no Python with Wraith in it was found; tried: ${tried.join('; ')}`,
    {
      hint:
        'install it with: pip install wraith-tunnel (Python 3.11 or later), ' +
        'or name its interpreter with the option python or with WRAITH_PYTHON',
    },
  );
}
