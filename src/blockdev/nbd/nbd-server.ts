import type { Clock } from "../../env/clock.ts";
import type { FrontEnd, FrontEndSeat } from "../front-end.ts";
import type { NbdExportOptions } from "./nbd-export-options.ts";

/**
 * The NBD server as a front end. It listens from the moment it is made; the constructor throws MdError E_IO (address
 * in use, permission) and E_VALUE. `seat.arenaBytes` is best 64 MiB or more: below, the greatest payload shrinks (32 MiB
 * needs about 44 MiB), and 2 MiB is the least. `endTurn` may submit requests to the sink (those that waited for room),
 * so the loop calls it before it unplugs and submits.
 */
export class NbdServer implements FrontEnd {
  constructor(seat: FrontEndSeat, options: NbdExportOptions, clock: Pick<Clock, "now">) {
    this.port = seat.ring.portOf(seat.ring.listen(options.address));
    void clock;
  }

  /** The TCP port that it listens on; 0 for a Unix socket. */
  readonly port: number;

  ringCompletion(_tag: number, _result: number): void {}
  complete(_cookie: number, _errno: number): void {}
  endTurn(): void {}
  drain(): boolean {
    return true;
  }
}
