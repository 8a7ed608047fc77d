import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BadFrame, FrameReader } from "../../src/dlm/socket/frames.ts";

const drain = (reader: FrameReader): unknown[] => {
  const values: unknown[] = [];
  for (let frame = reader.next(); frame !== null; frame = reader.next()) values.push(frame.value);
  return values;
};

describe("frames", () => {
  it("come out as they went in, wherever the stream is cut", () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue()), fc.array(fc.nat(40)), fc.boolean(), (values, cuts, drainAlways) => {
        const reader = new FrameReader(1_000_000);
        const bytes = Buffer.from(values.map((value) => `${JSON.stringify(value)}\n`).join(""));
        const got: unknown[] = [];
        let at = 0;
        for (const cut of [...cuts, bytes.length]) {
          reader.push(bytes.subarray(at, at + cut));
          at += cut;
          if (drainAlways) got.push(...drain(reader));
        }
        expect([...got, ...drain(reader)]).toEqual(JSON.parse(JSON.stringify(values)));
      }),
    );
  });

  it("may be as long as the limit and no longer, whole or not", () => {
    const frame = JSON.stringify("x".repeat(8));
    const reader = new FrameReader(frame.length);
    reader.push(Buffer.from(`${frame}\n`));
    expect(drain(reader)).toEqual(["x".repeat(8)]);
    reader.push(Buffer.from("[".repeat(frame.length)));
    expect(drain(reader)).toEqual([]);
    reader.push(Buffer.from("["));
    expect(() => drain(reader)).toThrow(BadFrame);
    const whole = new FrameReader(frame.length - 1);
    whole.push(Buffer.from(`${frame}\n`));
    expect(() => drain(whole)).toThrow(/a frame of more than 9 bytes/);
  });

  it("are JSON", () => {
    const reader = new FrameReader(100);
    reader.push(Buffer.from("1\n{\n"));
    expect(reader.next()).toEqual({ value: 1 });
    expect(() => reader.next()).toThrow("not JSON");
  });
});
