import { receiveMessageOnPort, workerData } from "node:worker_threads";
import { MdError } from "../base/md-error.ts";
import type { IoRing } from "../blockdev/io-ring.ts";
import { NbdServer } from "../blockdev/nbd/nbd-server.ts";
import { openRing } from "../blockdev/open-ring.ts";
import { UblkServer } from "../blockdev/ublk/ublk-server.ts";
import { realClock } from "../env/real-env.ts";
import { EngineLoop, type OpenFrontEnd } from "./engine-loop.ts";
import type { EngineConfig, EngineToWorker } from "./engine-protocol.ts";
import { SharedBlock } from "./shared-block.ts";
import { ControlWord, type WorkerInput, type WorkerMessage } from "./worker-protocol.ts";

/**
 * The worker's entry: a ring, a loop, `for (;;) turn()`. The thread waits in the ring and its event loop stands still,
 * unless the ring cannot block. An error that nobody expects ends the thread, and with it the process.
 */
const { config, shared, control, port } = workerData as WorkerInput;
const words = new Int32Array(control);
const post = (message: WorkerMessage): void => port.postMessage(message);

const openFrontEnd: OpenFrontEnd = (seat, wanted) => {
  if (wanted.type === "ublk") return { frontEnd: new UblkServer(seat, wanted), port: 0 };
  const frontEnd = new NbdServer(seat, wanted, realClock);
  return { frontEnd, port: frontEnd.port };
};

/** A power of two with room for what one turn submits; what is more goes in pieces. */
function ringEntries({ queueDepth, raidDisks }: EngineConfig): number {
  const wanted = Math.min(8192, queueDepth * (raidDisks + 2) + 64);
  return 2 ** Math.ceil(Math.log2(wanted));
}

function open(): { readonly ring: IoRing; readonly loop: EngineLoop } {
  const ring = openRing(config.ring, { entries: ringEntries(config), arenaBytes: config.arenaBytes });
  try {
    if (config.ioHold !== undefined) ring.holdFile?.(config.ioHold);
    const now = (): number => realClock.now();
    const loop = new EngineLoop({ config, ring, shared: new SharedBlock(shared), now, openFrontEnd });
    return { ring, loop };
  } catch (error) {
    ring.close();
    throw error;
  }
}

function runBlocking(ring: IoRing, loop: EngineLoop): void {
  let taken = 0;
  while (!loop.ended) {
    loop.turn();
    if (Atomics.load(words, ControlWord.abandoned) === 1) return;
    const posted = Atomics.load(words, ControlWord.posted);
    // A message may be a moment later than the word that announces it: then its wake is still to come, too.
    for (; taken !== posted; taken++) {
      const received = receiveMessageOnPort(port) as { readonly message: EngineToWorker } | undefined;
      if (received === undefined) break;
      loop.take(received.message);
    }
  }
  close(ring, loop);
}

function runOnEvents(ring: IoRing, loop: EngineLoop): void {
  let closed = false;
  const run = (): void => {
    while (loop.turn());
    if (!loop.ended || closed) return;
    closed = true;
    close(ring, loop);
  };
  port.on("message", (message: EngineToWorker) => {
    loop.take(message);
    run();
  });
  ring.onReady?.set(run);
}

/** The other thread may be about to wake a ring that it believes to be open: it says when it will not. */
function close(ring: IoRing, loop: EngineLoop): void {
  Atomics.wait(words, ControlWord.released, 0);
  ring.close(loop.givenUp);
  port.close();
}

function start(): void {
  let opened: ReturnType<typeof open>;
  try {
    opened = open();
  } catch (error) {
    if (!(error instanceof MdError)) throw error;
    post({ type: "failed", code: error.code, message: error.message, why: error.why });
    port.close();
    return;
  }
  const { ring, loop } = opened;
  post({ type: "ready", wakeHandle: ring.wakeHandle });
  loop.connect(post);
  if (ring.onReady === null) runBlocking(ring, loop);
  else runOnEvents(ring, loop);
}

start();
