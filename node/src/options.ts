/** What `connect` and `serve` take, and how it is told to the engine. */

import type { Sendable } from './controlFrames.js';
import { WraithError } from './errors.js';

/** How the two ends of the tunnel find each other. */
export type TransportName = 'tcp' | 'tls' | 'iroh';

/** Text or bytes; bytes are handed to the engine without a copy on disk or in the environment. */
type Material = string | Uint8Array;

export interface ConnectOptions {
  /** The server as `host` or `host:port`. */
  server?: string;
  /** The server as an iroh endpoint: its id, `ID@ADDR:PORT`, or a ticket. */
  peer?: string;
  /** Where the stream leads, as the server sees it: `host:port`, a path, or a reserved name. */
  destination?: string;
  transport?: TransportName;
  /** The user to log in as; the login name by default. */
  user?: string;
  /** Private keys: a string is a path, bytes are the key itself. */
  identity?: Material | Material[];
  /** The proxy that the tunnel itself goes through: `socks5://` or `http://`, with credentials. */
  proxy?: string;
  /** The server's host key as `SHA256:…`; no other is accepted. */
  hostKey?: string;
  /** Where host keys are recorded. */
  knownHosts?: string;
  /** Refuse a server whose key is not on record, instead of recording it on first use. */
  strictHostKey?: boolean;
  /** The name that the server's TLS certificate must have, if not that of `server`. */
  tlsServerName?: string;
  /** A PEM file of the authorities to trust for TLS, instead of the system's. */
  tlsCa?: string;
  /** The key of the server's TLS certificate as `SHA256:…`; enough by itself. */
  tlsPin?: string;
  /** Accept any TLS certificate. SSH still checks the host key. */
  insecure?: boolean;
  /** The secret that a stealthy server asks for: a string is a path, bytes are the secret itself. */
  stealthSecret?: Material;
  /** The iroh relay by its URL, or `disabled`; the public ones by default. */
  irohRelay?: string;
  /** The file of the iroh endpoint's secret key; a fresh key by default. */
  irohKey?: string;
  /** Seconds of silence after which the server is asked; three of them end the session. */
  keepalive?: number;
  /** Seconds for reaching the server. */
  connectTimeout?: number;
  /** Traffic after which the session keys are renewed, in bytes. */
  rekeyBytes?: number;
  /** The Python interpreter that has Wraith. */
  python?: string;
  /** Takes the attempt back; a stream that exists is ended by its own `destroy()`. */
  signal?: AbortSignal;
}

export interface ServeOptions {
  /** Addresses as `ADDR:PORT` or `tcp://ADDR:PORT`; port 0 takes a free one. */
  listen?: string | string[];
  transport?: TransportName;
  /**
   * The reserved names that lead to this program, each beginning with `wraith-`. By default
   * `wraith-control`, and none with `bus`.
   */
  services?: string[];
  /**
   * Answer `wraith-control` with Wraith's event bus: `memory://`, or `redis://…` to share it with
   * other servers.
   */
  bus?: string;
  /** The SSH host key: a string is a path, bytes are the key itself. */
  hostKey?: Material;
  /** OpenSSH's authorized_keys: a string is a path, bytes are its text. */
  authorizedKeys?: Material;
  /** Public keys, each a line of authorized_keys. */
  authorize?: string | string[];
  /** Files with the public keys of authorities whose user certificates are trusted. */
  certAuthority?: string | string[];
  /** A file of revoked keys. */
  revokedKeys?: string;
  /** PEM files of the TLS certificate and its key. */
  tlsCert?: string;
  tlsKey?: string;
  /** Make a TLS certificate on first use and keep it. */
  tlsSelfSigned?: boolean;
  /** Names and addresses to get one certificate for, and to keep it fresh (extra: acme). */
  acmeDomain?: string | string[];
  /** How the certificate authority may reach the operator. */
  acmeEmail?: string;
  /** The authority, by the URL of its directory; Let's Encrypt by default. */
  acmeDirectory?: string;
  /** Who vouches for the authority itself, as a PEM file. */
  acmeCa?: string;
  /** Answer its challenges by HTTP on this `ADDR:PORT`, instead of by TLS. */
  acmeHttp?: string;
  /** Let strangers on the TLS addresses meet nginx instead of SSH. */
  stealth?: boolean;
  /** The real web server that answers strangers. */
  stealthUpstream?: string;
  /** Who has not proved it is a stranger: a string is a path, bytes are the secret itself. */
  stealthSecret?: Material;
  /** The iroh relay by its URL, or `disabled`; the public ones by default. */
  irohRelay?: string;
  /** The file of the iroh endpoint's secret key, made on first use. */
  irohKey?: string;
  /** Where the server's counts are shown as Prometheus text, `ADDR:PORT` (extra: metrics). */
  metrics?: string;
  /** Access rules, `allow|deny PATTERN …`. Without any, only the services can be reached. */
  rules?: string | string[];
  /** The proxy through which destinations are reached, where rules let clients reach any. */
  proxy?: string;
  /** Which addresses `-R` may bind; `off` unless there are rules. */
  remoteForwards?: 'off' | 'loopback' | 'any';
  /** The largest event on the bus, in bytes. */
  busMaxFrame?: number;
  /** Addresses whose PROXY protocol is believed, as networks. */
  trustProxy?: string | string[];
  maxConnectionsPerIp?: number;
  maxAuthAttempts?: number;
  maxChannels?: number;
  maxStartups?: number;
  maxStartupsPerIp?: number;
  /** Seconds in which a client must authenticate. */
  loginGrace?: number;
  /** Seconds of silence after which a client is asked; three of them end its session. */
  keepalive?: number;
  /** Seconds for reaching a destination. */
  connectTimeout?: number;
  /** Traffic after which the session keys are renewed, in bytes. */
  rekeyBytes?: number;
  /** The Python interpreter that has Wraith. */
  python?: string;
}

type Told = { [name: string]: Sendable };

/** The options of a stream as the engine knows them. */
export function connectSettings(options: ConnectOptions): Told {
  const { destination, python, signal, ...rest } = options;
  return checked(rest);
}

/** The options of a server as the engine knows them. */
export function serveSettings(options: ServeOptions): Told {
  const { services, python, hostKey, ...rest } = options;
  return checked({ ...rest, key: hostKey });
}

function checked(options: Told): Told {
  for (const [name, value] of Object.entries(options)) {
    for (const item of Array.isArray(value) ? value : [value]) {
      if (typeof item === 'string' && item.includes('-----BEGIN')) {
        throw new WraithError('WRAITH_USAGE', `the option ${name} holds a key where a path goes`, {
          hint: 'give key material as a Buffer: Buffer.from(key)',
        });
      }
    }
  }
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
