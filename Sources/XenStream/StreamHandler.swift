/// What a `StreamReader` tells, in the order of the stream and after its checks.
///
/// Buffers are valid during the call only. Until `checkpointEnd` or `end`, nothing of the epoch is committed.
package protocol StreamHandler {
    /// The xl save header.
    mutating func xlHeader(_ header: XLSaveHeader)
    /// The guest's configuration, without the trailing NUL.
    mutating func config(_ json: UnsafeRawBufferPointer)
    /// The libxl header.
    mutating func libxlHeader(_ header: LibxlHeader)
    /// The libxc image header.
    mutating func imageHeader(_ header: ImageHeader)
    /// The libxc domain header.
    mutating func domainHeader(_ header: DomainHeader)
    /// A record of either layer begins; only its header has been checked.
    mutating func recordBegin(_ record: RecordInfo)
    /// One entry of a PAGE_DATA record. `content` is nil when the type carries no data, else 4096 bytes that start at
    /// `contentOffset` of the stream.
    mutating func page(_ entry: PageEntry, content: UnsafeRawBufferPointer?, contentOffset: UInt64)
    /// A PAGE_DATA record is whole.
    mutating func pageDataEnd(_ record: RecordInfo)
    /// A whole record that is not PAGE_DATA, empty ones included. An ignored record (optional, of unknown type) is
    /// skipped as it comes: its body is empty here.
    mutating func record(_ record: RecordInfo, body: UnsafeRawBufferPointer)
    /// The libxc layer of checkpoint `epoch` is whole; the first ends epoch 0.
    mutating func checkpoint(epoch: UInt64)
    /// Checkpoint `epoch` is whole in both layers: the commit point.
    mutating func checkpointEnd(epoch: UInt64)
    /// The stream is whole.
    mutating func end()
}

extension StreamHandler {
    package mutating func xlHeader(_ header: XLSaveHeader) {}
    package mutating func config(_ json: UnsafeRawBufferPointer) {}
    package mutating func libxlHeader(_ header: LibxlHeader) {}
    package mutating func imageHeader(_ header: ImageHeader) {}
    package mutating func domainHeader(_ header: DomainHeader) {}
    package mutating func recordBegin(_ record: RecordInfo) {}
    package mutating func page(_ entry: PageEntry, content: UnsafeRawBufferPointer?, contentOffset: UInt64) {}
    package mutating func pageDataEnd(_ record: RecordInfo) {}
    package mutating func record(_ record: RecordInfo, body: UnsafeRawBufferPointer) {}
    package mutating func checkpoint(epoch: UInt64) {}
    package mutating func checkpointEnd(epoch: UInt64) {}
    package mutating func end() {}
}

/// A handler that only lets the reader check.
package struct NullHandler: StreamHandler {
    /// Nothing to set up.
    package init() {}
}
