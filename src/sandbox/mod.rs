//! The cage: what the process gives up before it hears the first packet, so that whoever finds a
//! hole in it can touch nothing.
