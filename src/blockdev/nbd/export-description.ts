import { SECTOR_SIZE } from "../../base/units.ts";
import type { RequestSink } from "../front-end.ts";
import type { NbdExportOptions } from "./nbd-export-options.ts";
import { TransmissionFlag } from "./protocol.ts";

/** What clients are told of the export. Sizes in bytes. */
export interface ExportDescription {
  readonly name: string;
  readonly size: number;
  /** Without SEND_DF, which depends on the connection. */
  readonly flags: number;
  readonly minimumBlock: number;
  readonly preferredBlock: number;
  readonly maximumPayload: number;
}

export function describeExport(
  options: NbdExportOptions,
  sink: Pick<RequestSink, "size" | "readOnly" | "blockSize">,
  maximumPayload: number,
): ExportDescription {
  const { HAS_FLAGS, READ_ONLY, SEND_FLUSH, SEND_FUA, SEND_TRIM, SEND_WRITE_ZEROES, CAN_MULTI_CONN } = TransmissionFlag;
  const bytes = sink.size * SECTOR_SIZE;
  return {
    name: options.exportName,
    // A tail shorter than a block could not be reached.
    size: bytes - (bytes % sink.blockSize),
    flags:
      HAS_FLAGS |
      SEND_FLUSH |
      SEND_FUA |
      SEND_TRIM |
      SEND_WRITE_ZEROES |
      (options.readOnly || sink.readOnly ? READ_ONLY : 0) |
      (options.multiConn ? CAN_MULTI_CONN : 0),
    minimumBlock: sink.blockSize,
    preferredBlock: Math.max(4096, sink.blockSize),
    maximumPayload,
  };
}
