import { describe, expect, it } from "vitest";
import { ContentModel } from "../../src/sim/content-model.ts";
import { stampSectors } from "../../src/sim/stamp.ts";

const SECTOR = 3;

const holding = (value: number): Uint8Array => {
  const bytes = new Uint8Array(512);
  stampSectors(bytes, value, SECTOR);
  return bytes;
};

const never = (): boolean => false;
const always = (): boolean => true;

/** Values from 0 to 9 that the sector may hold. */
const possible = (model: ContentModel): number[] =>
  Array.from({ length: 10 }, (_, value) => value).filter(
    (value) => model.judge(SECTOR, new Uint32Array(holding(value).buffer), 0) === null,
  );

const acked = (model: ContentModel, id: number, life = "n1.1", fua = false): void => {
  model.beginWrite(id, life, SECTOR, SECTOR + 1, id);
  model.endWrite(id, fua);
};

describe("the content model", () => {
  it("knows only zeros at first, and only the new value after an acknowledged write", () => {
    const model = new ContentModel(8);
    expect(possible(model)).toEqual([0]);
    acked(model, 1);
    expect(possible(model)).toEqual([1]);
  });

  it("allows both values while a write is under way, and for ever when it was never acknowledged", () => {
    const model = new ContentModel(8);
    model.beginWrite(1, "n1.1", SECTOR, SECTOR + 1, 1);
    expect(possible(model)).toEqual([0, 1]);
    model.abandonLife("n1.1");
    model.endWrite(1, false);
    expect(possible(model)).toEqual([0, 1]);
    acked(model, 2);
    expect(possible(model)).toEqual([2]);
  });

  it("allows either of two writes that overlapped in time, whichever was acknowledged last", () => {
    const model = new ContentModel(8);
    model.beginWrite(1, "n1.1", SECTOR, SECTOR + 1, 1);
    model.beginWrite(2, "n1.1", SECTOR, SECTOR + 1, 2);
    model.endWrite(1, false);
    model.endWrite(2, false);
    expect(possible(model)).toEqual([1, 2]);
  });

  it("believes a read for good, but not what it saw beside a write: that may have landed just after it", () => {
    const model = new ContentModel(8);
    model.beginWrite(1, "n1.1", SECTOR, SECTOR + 1, 1);
    model.beginWrite(2, "n1.1", SECTOR, SECTOR + 1, 2);
    model.beginRead(3, SECTOR, SECTOR + 1);
    model.endWrite(1, false);
    model.endWrite(2, false);
    expect(model.endRead(3, holding(1), always)).toBeNull();
    expect(possible(model)).toEqual([1, 2]);
    model.beginRead(4, SECTOR, SECTOR + 1);
    expect(model.endRead(4, holding(1), always)).toBeNull();
    expect(possible(model)).toEqual([1]);
  });

  it("lets a power cut take what no flush of the same node covered", () => {
    const model = new ContentModel(8);
    acked(model, 1);
    model.flushed("n1.1", model.step);
    acked(model, 2);
    const before = model.step;
    acked(model, 3);
    model.flushed("n2.1", model.step);
    model.powerCut();
    expect(possible(model)).toEqual([1, 2, 3]);
    expect(before).toBeGreaterThan(0);
  });

  it("covers by a flush only what was acknowledged before the flush began", () => {
    const model = new ContentModel(8);
    acked(model, 1);
    const begun = model.step;
    acked(model, 2);
    model.flushed("n1.1", begun);
    model.powerCut();
    expect(possible(model)).toEqual([1, 2]);
  });

  it("keeps a FUA write through a power cut", () => {
    const model = new ContentModel(8);
    acked(model, 1, "n1.1", true);
    model.powerCut();
    expect(possible(model)).toEqual([1]);
  });

  it("refuses a read that returns something old, of another sector, or mixed", () => {
    const model = new ContentModel(8);
    acked(model, 1);
    acked(model, 2);
    const read = (content: Uint8Array): string | null => {
      model.beginRead(99, SECTOR, SECTOR + 1);
      return model.endRead(99, content, never);
    };
    expect(read(holding(2))).toBeNull();
    expect(read(holding(1))).toMatch(/sector 3 read as 1, possible are 2/);
    const mixed = holding(2);
    mixed.set(holding(1).subarray(0, 8), 256);
    expect(read(mixed)).toMatch(/mixture/);
    const elsewhere = new Uint8Array(512);
    stampSectors(elsewhere, 2, SECTOR + 1);
    expect(read(elsewhere)).toMatch(/mixture/);
  });

  it("allows a read to see a write that began during it", () => {
    const model = new ContentModel(8);
    model.beginRead(99, SECTOR, SECTOR + 1);
    model.beginWrite(1, "n1.1", SECTOR, SECTOR + 1, 1);
    expect(model.endRead(99, holding(1), never)).toBeNull();
  });

  it("holds a doubtful sector to what a decided read saw, until a mirror is lost", () => {
    const model = new ContentModel(8);
    model.beginWrite(1, "n1.1", SECTOR, SECTOR + 1, 1);
    model.abandonLife("n1.1");
    expect(model.doubtfulLives(SECTOR)).toEqual(["n1.1"]);
    model.beginRead(99, SECTOR, SECTOR + 1);
    model.endRead(99, holding(0), always);
    expect(possible(model)).toEqual([0]);
    model.mirrorLost();
    expect(possible(model)).toEqual([0, 1]);
  });
});
