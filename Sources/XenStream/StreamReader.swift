/// Reads a stream as it comes.
package struct StreamReader: ~Copyable {
    /// How far a stream got when its input ended.
    package enum Completeness: Equatable, Sendable {
        /// No byte was fed.
        case empty
        /// END was read.
        case whole
        /// A checkpointed stream stands right after its checkpoint number `epochs`.
        case afterCheckpoint(epochs: UInt64)
        /// In the middle of something.
        case truncated
    }

    /// Bytes consumed.
    package var offset: UInt64 { 0 }
    /// Checkpoints completed.
    package var epoch: UInt64 { 0 }
    /// How far the stream got.
    package var completeness: Completeness { .empty }

    /// A reader at the start of its input.
    package init(options: ReaderOptions = .init()) {}

    /// Reads on.
    package mutating func feed<H: StreamHandler>(
        _ bytes: UnsafeRawBufferPointer,
        to handler: inout H
    ) throws(StreamError) {}

    /// The input has ended.
    package func finish() throws(StreamError) {}

    /// Puts a reader that was fed the static part of an earlier session at the boundary after `epochs` checkpoints.
    package mutating func continueAfterCheckpoint(epochs: UInt64) throws(StreamError) {}
}
