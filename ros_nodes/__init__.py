"""ROS 2 nodes: thin shells around the core, and the only room that imports rclpy."""
