import { type ClientAnswer, type FrontEndClient, frontEndSuite, type MakeFrontEnd } from "../conformance/front-end.ts";
import { NbdHost } from "../support/nbd-host.ts";

const [READ, WRITE, FLUSH, TRIM, ZEROES] = [0, 1, 3, 4, 6];
const [FUA, NO_HOLE] = [1, 2];

const make: MakeFrontEnd = ({ blockSize, readOnly }) => {
  const host = new NbdHost({
    ring: "io_uring",
    ...(blockSize === undefined ? {} : { blockSize }),
    ...(readOnly === undefined ? {} : { readOnly }),
  });
  const { sink } = host;
  // Replies come in any order: each request has a connection of its own.
  const call = async (command: number, at: number, length: number, flags = 0, data?: Buffer): Promise<ClientAnswer> =>
    (await host.client()).call(command, { offset: BigInt(at), length, flags }, data);
  const client: FrontEndClient = {
    read: (at, bytes) => call(READ, at, bytes),
    write: (at, data, { fua = false } = {}) => call(WRITE, at, data.length, fua ? FUA : 0, data),
    flush: () => call(FLUSH, 0, 0),
    zero: (at, bytes, { noHole = false } = {}) => call(ZEROES, at, bytes, noHole ? NO_HOLE : 0),
    discard: (at, bytes) => call(TRIM, at, bytes),
  };
  return {
    sink,
    client: () => Promise.resolve(client),
    until: (condition, what) => host.until(condition, what),
    letGo: () => host.letGo(),
    startDraining: () => host.startDraining(),
    get drained() {
      return host.drained;
    },
    stop: () => host.stop(),
  };
};

frontEndSuite("nbd", make);
