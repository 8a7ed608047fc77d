import { CONTROL_API_VERSION } from "../daemon/control-api.ts";
import { programVersion } from "../daemon/version.ts";

/** Program, on-disk format, protocol. */
export const versionText = (): string =>
  `mdctl ${programVersion()}\non-disk format: md superblock 1.0, 1.1, 1.2; clustered bitmap 5\ncontrol protocol: ${CONTROL_API_VERSION}\n`;
