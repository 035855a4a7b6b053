/**
 * The names and codes of Wraith's error tree, which is Python's (`wraith/errors.py`), and the few
 * that only this package can have.
 */

/** Codes of the Python tree; docs/reference/errors.md says what each means. */
export const SHARED_CODES = [
  'WRAITH_ERROR',
  'WRAITH_USAGE',
  'WRAITH_IDENTITY',
  'WRAITH_LISTEN_FAILED',
  'WRAITH_TRANSPORT_FAILED',
  'WRAITH_PROXY_FAILED',
  'WRAITH_PROXY_AUTH_FAILED',
  'WRAITH_TLS_FAILED',
  'WRAITH_CERTIFICATE',
  'WRAITH_SESSION_FAILED',
  'WRAITH_SESSION_LOST',
  'WRAITH_PROTOCOL',
  'WRAITH_AUTH_FAILED',
  'WRAITH_HOST_KEY',
  'WRAITH_HOST_KEY_CHANGED',
  'WRAITH_HOST_KEY_MISMATCH',
  'WRAITH_HOST_KEY_UNKNOWN',
  'WRAITH_CHANNEL_FAILED',
  'WRAITH_CHANNEL_REFUSED',
  'WRAITH_FORWARD_REFUSED',
  'WRAITH_EVENT',
  'WRAITH_EVENT_STREAM',
  'WRAITH_FRAME',
  'WRAITH_TRUNCATED',
  'WRAITH_SLOW_CONSUMER',
] as const;

/** Codes of this package alone: they are about the Python child. */
export const NODE_CODES = [
  'WRAITH_PYTHON_NOT_FOUND',
  'WRAITH_ENGINE_VERSION',
  'WRAITH_ENGINE_EXITED',
] as const;

/** What `WraithError.code` can be. */
export type WraithErrorCode = (typeof SHARED_CODES)[number] | (typeof NODE_CODES)[number];

/** An error as the engine describes it. */
export interface Failure {
  code: string;
  message: string;
  hint?: string;
  reason?: string;
}

/** Every error that this package raises by itself, except an `AbortError`. */
export class WraithError extends Error {
  override readonly name = 'WraithError';

  /** A stable name of what happened. */
  readonly code: WraithErrorCode;

  /** What can be done next, if anything is known to help. */
  declare readonly hint?: string;

  /** The system's own name for the cause, such as `ECONNREFUSED`, where there is one. */
  declare readonly reason?: string;

  constructor(
    code: WraithErrorCode,
    message: string,
    more: { hint?: string; reason?: string } = {},
  ) {
    super(message);
    this.code = code;
    if (more.hint !== undefined) this.hint = more.hint;
    if (more.reason !== undefined) this.reason = more.reason;
  }
}

/** The error that the engine described; an aborted operation is told as Node tells it. */
export function fromFailure(failure: Failure): Error {
  if (failure.code === 'ABORT_ERR') return abortError();
  return new WraithError(failure.code as WraithErrorCode, failure.message, failure);
}

/** What an operation ends with when its `signal` has no reason of its own. */
export function abortError(): Error {
  return Object.assign(new Error('The operation was aborted'), {
    name: 'AbortError',
    code: 'ABORT_ERR',
  });
}
