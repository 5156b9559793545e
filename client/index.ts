/** The client: for Node. In browsers the package gives client/browser.ts under the same name. */
export * from "./node.ts";
