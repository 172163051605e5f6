//! Black-box tests of the built binary, and the house rules.

mod prd_shapes;
