#!/usr/bin/env node
import { entry } from "./entry.mjs";

const { main } = await entry("cli/main");
await main(process.argv.slice(2));
