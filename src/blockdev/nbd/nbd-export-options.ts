import type { ListenAddress } from "../io-ring.ts";

/** What is exported, and where. */
export interface NbdExportOptions {
  readonly address: ListenAddress;
  /** Clients that ask for no name get this export too. */
  readonly exportName: string;
  /** Refuses writes although the array takes them. */
  readonly readOnly: boolean;
  /** CAN_MULTI_CONN is true of this export: a FLUSH covers what was answered on any connection of any node. */
  readonly multiConn: boolean;
}
