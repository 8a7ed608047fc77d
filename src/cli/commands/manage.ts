import type { Command } from "../command.ts";
import { manageSteps } from "../manage-operations.ts";
import { runSteps } from "./manage-run.ts";

/** The option spelling: any sequence of operations. */
export const manage: Command = async (invocation, context) =>
  runSteps(manageSteps(invocation.tokens), invocation, context);
