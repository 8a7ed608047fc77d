import type { Personality } from "../array/personality.ts";
import type { Sector } from "../base/units.ts";
import type { IoRing } from "../blockdev/io-ring.ts";
import type { SuspendList } from "../resync/suspend-list.ts";
import type { EngineConfig, EngineNotice, ReadBalance } from "./engine-protocol.ts";
import type { KeptBuffers } from "./kept-buffers.ts";
import type { MemberTable } from "./member-table.ts";
import type { RequestTable } from "./request-table.ts";
import type { SharedBlock } from "./shared-block.ts";

/** What all paths of one data plane share. */
export interface EngineCore {
  readonly config: EngineConfig;
  readonly ring: IoRing;
  readonly shared: SharedBlock;
  personality: Personality;
  /** Sectors that may be asked for. */
  capacity: Sector;
  readonly table: RequestTable;
  readonly kept: KeptBuffers;
  readonly members: MemberTable;
  /** Ranges that other nodes resync. */
  readonly suspended: SuspendList;
  balance: ReadBalance;
  /** This node was surely still a member when this turn's completions happened: what they brought may be answered. */
  mayAnswer: boolean;
  /** Nothing new is issued to members, but for the bitmap. */
  quiesced: boolean;
  /** Writes wait: the superblocks do not say yet that copies may differ. */
  holdsWrites: boolean;
  /** The end has been asked for: what would have to wait for others is refused. */
  stopping: boolean;
  /** Everything is refused. */
  closed: boolean;
  readonly notify: (notice: EngineNotice) => void;
  /** The request starts anew, as soon as requests are admitted. */
  readonly startLater: (request: number) => void;
  /** The request is answered (0 or an errno) and forgotten. */
  readonly finish: (request: number, errno: number) => void;
}
