import type { Command } from "../command.ts";
import { shortSizeText } from "../render/size-text.ts";
import { plainTable, table } from "../render/table.ts";

export const list: Command = async (_invocation, context) => {
  const { data } = await context.request("list", {});
  const heading = ["ARRAY", "DEVICE", "FRONTEND", "SIZE", "IO", "READ", "WRITTEN"];
  const rows = data.mappings.map(({ array, device, frontend, sizeBytes, io }) => [
    array,
    device,
    frontend,
    shortSizeText(sizeBytes),
    io.state,
    shortSizeText(io.readBytes),
    shortSizeText(io.writeBytes),
  ]);
  const exact = data.mappings.map(({ array, device, frontend, sizeBytes, io }) => [
    ...[array, device, frontend, String(sizeBytes)],
    ...[io.state, String(io.readBytes), String(io.writeBytes)],
  ]);
  return { data, text: table(heading, rows), plain: plainTable(exact) };
};
