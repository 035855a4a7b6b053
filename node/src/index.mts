/** The public names for ES modules: the same objects, so that a process has one engine. */

export { connect, createWraithEventTarget, serve, WraithError } from './index.js';
export type {
  ConnectionInfo,
  ConnectionListener,
  ConnectOptions,
  EventEnvelope,
  EventTargetOptions,
  ListenerOptions,
  ServeOptions,
  TopicEvent,
  TopicListener,
  TransportName,
  WraithErrorCode,
  WraithEventTarget,
  WraithServer,
} from './index.js';
