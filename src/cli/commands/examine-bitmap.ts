import type { Examination } from "../../array/examine.ts";
import { examineBitmapText } from "../../array/examine-bitmap-text.ts";
import { MdError } from "../../base/md-error.ts";
import { maskOfBit } from "../../bitmap/bitmap-layout.ts";
import type { Command } from "../command.ts";
import { bitmapData } from "../render/examination-data.ts";
import { examineAll } from "./examine.ts";

export const examineBitmap: Command = async (invocation, context) => {
  const found = await examineAll(invocation.operands, context);
  const texts = found.map((one) => {
    const lines = [...examineBitmapText(one.path, bitmapOf(one))];
    if (invocation.has("chunks")) lines.push(...chunkLines(one));
    return `${lines.join("\n")}\n`;
  });
  return { data: { members: found.map((one) => ({ path: one.path, bitmap: bitmapData(one) })) }, text: texts.join("") };
};

function bitmapOf({ path, bitmap, bitmapError }: Examination): NonNullable<Examination["bitmap"]> {
  if (bitmap !== null) return bitmap;
  throw bitmapError ?? new MdError("E_NO_SUPERBLOCK", `${path} has no bitmap`);
}

/** Runs of dirty chunks, one line each: `slot 1: chunks 40-43`. */
function chunkLines(examination: Examination): readonly string[] {
  const { slots, layout } = bitmapOf(examination);
  return slots.flatMap(({ bits }, slot) => {
    const lines: string[] = [];
    let from = -1;
    for (let chunk = 0; chunk <= layout.chunks; chunk++) {
      const dirty = chunk < layout.chunks && ((bits[chunk >> 3] ?? 0) & maskOfBit(chunk)) !== 0;
      if (dirty && from < 0) from = chunk;
      if (dirty || from < 0) continue;
      lines.push(`  slot ${slot}: ${from === chunk - 1 ? `chunk ${from}` : `chunks ${from}-${chunk - 1}`}`);
      from = -1;
    }
    return lines;
  });
}
