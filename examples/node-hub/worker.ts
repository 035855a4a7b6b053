// A worker: squares numbers for the others, and has the numbers of one of them squared.
//
//     node dist/worker.js NAME HUB HOST-KEY-FINGERPRINT KEY-FILE COLLEAGUE
//
// It needs no address that others can reach: both workers call the hub, and meet there.

import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import {
  connect,
  createWraithEventTarget,
  type EventEnvelope,
  type TopicEvent,
  type WraithEventTarget,
} from "wraith-tunnel";

interface Job {
  number: number;
  square?: number;
  from: string;
}

type Jobs = WraithEventTarget<TopicEvent<EventEnvelope<Job>>>;

const [name, server, hostKey, identity, colleague] = process.argv.slice(2);
if (!name || !server || !hostKey || !identity || !colleague) {
  throw new Error(
    "usage: worker.js NAME HUB HOST-KEY-FINGERPRINT KEY-FILE COLLEAGUE",
  );
}

const open = new Map(
  [1, 2, 3, 4, 5].map((number) => [number, undefined as number | undefined]),
);

/** Work over one stream until it ends. */
async function work(target: Jobs): Promise<void> {
  target.addEventListener(`square:${name}`, ({ detail }) => {
    const { number, from } = detail.payload;
    target.dispatch("squared", from, {
      number,
      square: number * number,
      from: name,
    });
  });
  target.addEventListener(`squared:${name}`, ({ detail }) => {
    const { number, square } = detail.payload;
    open.set(number, square);
    if ([...open.values()].every((value) => value !== undefined)) {
      console.log(`${name}: ${[...open.values()].join(" ")}`);
    }
  });
  // The bus delivers at most once, and nobody answers a subscription: ask until there is an answer.
  const asking = setInterval(() => {
    for (const [number, square] of open) {
      if (square === undefined)
        target.dispatch("square", colleague, { number, from: name });
    }
  }, 200);
  await target.closed.finally(() => clearInterval(asking));
}

let stopped = false;
process.once("SIGTERM", () => process.exit((stopped = true) ? 0 : 1));

// Nothing is reconnected by itself: a new stream is a new target.
while (!stopped) {
  try {
    const stream = await connect({ server, hostKey, identity, user: name });
    const target: Jobs = createWraithEventTarget({ stream });
    await work(target);
    await once(stream, "close");
  } catch (error) {
    console.error(`${name}: ${error}`);
  }
  await sleep(500);
}
