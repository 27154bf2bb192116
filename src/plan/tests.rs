//! The plan without root and without a kernel: tables, a snapshot, properties of order.
