// The hub: a server that anybody with a listed key may reach, with an event bus and nothing else.
//
//     node dist/hub.js ADDR:PORT HOST-KEY AUTHORIZED-KEYS

import { serve } from "wraith-tunnel";

const [listen, hostKey, authorizedKeys] = process.argv.slice(2);
if (!listen || !hostKey || !authorizedKeys) {
  throw new Error("usage: hub.js ADDR:PORT HOST-KEY AUTHORIZED-KEYS");
}

const server = await serve({
  listen,
  hostKey,
  authorizedKeys,
  bus: "memory://",
});
console.log(`listening on ${server.listenAddresses.join(" ")}`);
console.log(`host key ${server.hostKeyFingerprint}`);

process.once("SIGTERM", () => void server.close());
