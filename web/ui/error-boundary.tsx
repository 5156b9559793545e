/** A bug in one view leaves the frame standing, and says so. */
import { Component, type ReactNode } from "react";
import { Button, Empty } from "./controls.tsx";

interface Props {
  readonly children: ReactNode;
}

export class ErrorBoundary extends Component<Props, { readonly error: Error | undefined }> {
  override state: { readonly error: Error | undefined } = { error: undefined };

  static getDerivedStateFromError(error: Error): { readonly error: Error } {
    return { error };
  }

  override render(): ReactNode {
    const { error } = this.state;
    if (error === undefined) return this.props.children;
    return (
      <Empty
        title="This view cannot be shown"
        action={<Button onClick={() => location.reload()}>Load the page again</Button>}
      >
        {error.message}
      </Empty>
    );
  }
}
