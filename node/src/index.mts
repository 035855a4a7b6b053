/** The public names for ES modules: the same objects, so that a process has one engine. */

export { connect, serve, WraithError } from './index.js';
export type {
  ConnectionInfo,
  ConnectionListener,
  ConnectOptions,
  ServeOptions,
  TransportName,
  WraithErrorCode,
  WraithServer,
} from './index.js';
