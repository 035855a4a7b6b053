/** The public names; `index.mts` gives the same to ES modules. */

export { connect } from './connect.js';
export type { EventEnvelope } from './envelope.js';
export {
  createWraithEventTarget,
  type EventTargetOptions,
  type ListenerOptions,
  type TopicEvent,
  type TopicListener,
  type WraithEventTarget,
} from './eventTarget.js';
export { WraithError, type WraithErrorCode } from './errors.js';
export type { ConnectOptions, ServeOptions, TransportName } from './options.js';
export { type ConnectionInfo, type ConnectionListener, serve, type WraithServer } from './serve.js';
